"""Properties of manifests: no text is a crash, and what is accepted fits the schema."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no annotations
from ruamel.yaml import YAML

from reconciler.manifest.document import parse
from reconciler.manifest.load import load
from reconciler.manifest.nodes import ListNode, MapNode, Node, ScalarNode
from reconciler.manifest.problems import Problems
from reconciler.manifest.schema import schema_text
from reconciler.manifest.tree import Layer, Loaded, LockFile, ManifestFile

VALIDATOR = Draft202012Validator(json.loads(schema_text()))


def manifest(text: bytes, label: str = "m/a.yaml") -> ManifestFile:
    return ManifestFile(label, "/m", "/m", text)


def load_texts(*texts: bytes, lock: bytes | None = None) -> Loaded:
    files = tuple(manifest(text, f"m/{i}.yaml") for i, text in enumerate(texts))
    locks = () if lock is None else (LockFile("m/reconcile.lock", lock, "/m"),)
    return load((Layer("paths", files[:1], locks), Layer("requests", files[1:])), paths=("/m",))


def check_report(result: Loaded) -> None:
    """Every error is one line with a position; nothing is desired without a reason to say so."""
    assert (result.desired is not None) or result.errors
    for error in result.errors:
        assert error.line is not None
        assert error.line >= 1
        assert error.column is not None
        assert error.column >= 1
        assert error.message
        assert "\n" not in str(error)


# ---- no text is a crash ----------------------------------------------------------------------

KEYS = ["apiVersion", "models", "slots", "moved", "catalog", "adapters", "source", "sources", "files", "sha256"]
MORE_KEYS = ["model", "from", "to", "labels", "base", "concurrency", "max", "pruning", "max_delete", "share"]
DOWNLOAD_KEYS = ["schedule", "downloads", "window", "days", "budgets", "soft", "hard", "priority"]
VALUES = ["true", "~", "0", "1", "24h", "30%", "22:00-06:00", "mon-fri", "reconciler/v1", "models/a", "m", "a" * 64]
SOURCE_TEXTS = ["https://x.io/a", "file:a", "hf://o/r@" + "1" * 40]
MARKS = [": ", ":\n", "- ", "\n", "\n  ", "\n    ", *"{}[]'\"#|\t", ", ", "&a ", "*a", "!t ", "---\n"]
WORDS = st.sampled_from([*KEYS, *MORE_KEYS, *DOWNLOAD_KEYS, *VALUES, *SOURCE_TEXTS, *MARKS])


@given(st.binary(max_size=200), st.binary(max_size=60))
@settings(max_examples=200)
def test_no_bytes_are_a_crash(text: bytes, lock: bytes) -> None:
    check_report(load_texts(text, text, lock=lock))


@given(st.lists(WORDS, max_size=40).map("".join))
@settings(max_examples=400)
def test_no_words_are_a_crash(text: str) -> None:
    check_report(load_texts(text.encode(), text.encode(), lock=text.encode()))


@given(st.text(max_size=60))
def test_no_value_is_a_crash(value: str) -> None:
    written = json.dumps(value)
    keys = ("source", "sha256", "bytes", "name", "license", "labels", "catalog", "adopt", "files", value or "x")
    model = ", ".join(f"{json.dumps(key)}: {written}" for key in keys)
    text = f"apiVersion: reconciler/v1\nmodels: {{m: {{{model}}}}}\nmoved: [{{from: {written}, to: {written}}}]\n"
    check_report(load_texts(text.encode()))


# ---- what is read is what is written ---------------------------------------------------------

# These need quotes in brackets: the C scanner knows YAML 1.1, and a quote before a colon may end a key.
NEEDS_QUOTES = re.compile("^[:?]|[\"']:")
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12).filter(
    lambda text: not NEEDS_QUOTES.search(text)
)
URLS = st.sampled_from(["https://a/b?c=d#e", "x:y", "a::b", "what?", "llama3:8b", "file:x", "127.0.0.1:80"])
TREES = st.recursive(
    TEXTS | URLS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)


def plain(node: Node) -> object:
    match node:
        case ScalarNode():
            return node.text
        case ListNode():
            return [plain(item) for item in node.items]
        case MapNode():
            return {key.text: plain(value) for key, value in node.entries}


@given(TREES, st.booleans())
@settings(max_examples=300)
def test_what_another_program_wrote_is_read_back(tree: Any, flow: bool) -> None:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = flow
    stream = io.StringIO()
    writer.dump({"root": tree}, stream)
    problems = Problems()
    (root,) = parse(manifest(stream.getvalue().encode()), problems).documents
    assert problems.report() == ()
    assert plain(root) == {"root": tree}


@given(st.lists(URLS, min_size=1, max_size=5))
def test_unquoted_urls_in_flow_style_are_read_like_another_parser_of_yaml_1_2_does(urls: list[str]) -> None:
    text = f"a: [{', '.join(urls)}]\nb: {{k: {urls[0]}}}\n"
    problems = Problems()
    (root,) = parse(manifest(text.encode()), problems).documents
    expected = YAML(typ="safe", pure=True).load(text)
    assert problems.report() == ()
    assert plain(root) == {"a": [str(item) for item in expected["a"]], "b": {"k": str(expected["b"]["k"])}}


# ---- what is accepted fits the schema --------------------------------------------------------

HEX = st.text("0123456789abcdefABCDEF", min_size=63, max_size=65)
DIGESTS = st.sampled_from(["a" * 64, "sha256:" + "B" * 64]) | HEX
ZEROS = [0, "0", "0s", "0.0GiB", "0%"]
FIGURES = st.integers(-2, 10**16) | st.sampled_from([*ZEROS, 1, 1.5, "1", "1.5", "24h", "10GiB", "30%", "100%", "1e3"])
SOURCES = (
    st.sampled_from(["https://x.io/a.gguf", "http://x/a", "file:a.gguf", f"hf://o/r@{'1' * 40}/a.gguf", "oci://x"])
    | st.builds("https://x.io/{}".format, TEXTS)
    | st.builds("file:{}".format, TEXTS)
    | TEXTS
)
NAMES = st.sampled_from(["m", "llama3:8b", "chat"]) | TEXTS
FILE = st.fixed_dictionaries({"sha256": DIGESTS}, optional={"bytes": FIGURES, "role": st.sampled_from(["mmproj", "x"])})
MODEL = st.fixed_dictionaries(
    {"source": SOURCES},
    optional={
        "sha256": DIGESTS,
        "bytes": FIGURES,
        "name": NAMES,
        "license": TEXTS,
        "labels": st.lists(TEXTS, max_size=2),
        "adopt": st.sampled_from(["clone", "hardlink", "move"]),
        "files": st.dictionaries(st.sampled_from(["a", "q/b.gguf"]) | TEXTS, FILE, max_size=2),
        "sources": st.lists(SOURCES, max_size=2),
        "catalog": NAMES,
        "priority": FIGURES,
    },
)
SIMPLE_MODEL = st.fixed_dictionaries({"source": SOURCES, "sha256": DIGESTS}, optional={"name": st.just("a.gguf")})
CONCURRENCY = ["max", "hard_cap", "per_host", "bandwidth"]
BUDGETS = ["soft", "hard", "degrade_at", "max_size", "quota", "reserve"]
TIMES = st.from_regex(r"\A[012][0-9]:[0-6][0-9]\Z", fullmatch=False) | st.sampled_from(["24:00", "00:00", "noon"])
WINDOW = st.fixed_dictionaries(
    {"window": st.builds("{}-{}".format, TIMES, TIMES) | TEXTS},
    optional={"days": st.sampled_from(["mon-fri", "sat,sun", "fri-mon", "mon, tue", "Mon", "mon,"]) | TEXTS},
)
DOCUMENT = st.fixed_dictionaries(
    {"apiVersion": st.just("reconciler/v1")},
    optional={
        "models": st.dictionaries(NAMES, SIMPLE_MODEL | MODEL, max_size=2),
        "slots": st.dictionaries(
            NAMES, st.fixed_dictionaries({"model": NAMES}, optional={"default": st.booleans()}), max_size=1
        ),
        "concurrency": st.dictionaries(
            st.sampled_from(["max", "hard_cap", "per_host", "bandwidth"]), FIGURES, max_size=2
        ),
        "budgets": st.dictionaries(st.sampled_from(BUDGETS), FIGURES, max_size=3),
        "schedule": st.fixed_dictionaries({}, optional={"downloads": st.lists(WINDOW, max_size=2)}),
        "pruning": st.dictionaries(st.sampled_from(["ttl", "quarantine", "keep"]), FIGURES, max_size=2),
        "defaults": st.fixed_dictionaries(
            {}, optional={"retries": FIGURES, "segments": FIGURES, "idle_timeout": FIGURES, "provider": TEXTS}
        ),
        "egress": st.fixed_dictionaries(
            {}, optional={"allow": st.lists(TEXTS, max_size=2), "allow_http": st.booleans()}
        ),
    },
)


@given(DOCUMENT)
@settings(max_examples=400)
def test_what_the_loader_accepts_fits_the_schema(document: dict[str, object]) -> None:
    result = load_texts(json.dumps(document, ensure_ascii=False).encode())
    check_report(result)
    if result.desired is not None:
        VALIDATOR.validate(document)


PLACES = [
    ("concurrency", "max"),
    ("concurrency", "bandwidth"),
    ("pruning", "ttl"),
    ("pruning", "keep"),
    ("defaults", "retries"),
    ("defaults", "segments"),
    *(("budgets", key) for key in BUDGETS),
]


@given(FIGURES, st.sampled_from(PLACES))
@settings(max_examples=300)
def test_loader_and_schema_agree_about_every_figure(figure: object, where: tuple[str, str]) -> None:
    section, key = where
    document = {"apiVersion": "reconciler/v1", section: {key: figure}}
    accepted = load_texts(json.dumps(document).encode()).desired is not None
    assert accepted == VALIDATOR.is_valid(document)
