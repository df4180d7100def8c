"""`reconcile.lock`: pins that the manifest leaves out, and disagreements with it."""

from __future__ import annotations

import json

import pytest

from reconciler.manifest.document import MAX_FILE_BYTES
from reconciler.manifest.load import load
from reconciler.manifest.tree import LockFile
from tests.unit.manifest.trees import COMMIT, A, B, C, body, desired, error, errors, file, layer, loaded, lock

URL = "https://x.io/a.gguf"
MODEL = f"models:\n  m: {{source: {URL}}}\n"


def pins(sources: object) -> LockFile:
    return lock(json.dumps({"format": 1, "sources": sources}, indent=2))


def pin(sha256: str = A, size: int | None = None) -> dict[str, object]:
    return {"sha256": sha256} if size is None else {"sha256": sha256, "bytes": size}


def test_the_lock_pins_a_single_file_under_the_empty_path() -> None:
    state = desired(body(MODEL), locks=(pins({URL: {"commit": None, "files": {"": pin(A, 5)}}}),))
    assert (state.models["m"].files[0].digest, state.models["m"].files[0].size_bytes) == (A, 5)


def test_the_lock_pins_files_by_path_and_adapters_too() -> None:
    source = f"hf://o/r@{COMMIT}"
    text = f"models:\n  m: {{source: {source}, files: {{q/a.gguf: {{}}, b.gguf: {{sha256: {B}}}}}}}\n"
    text += "adapters:\n  l: {base: m, source: file:l.gguf}\n"
    locked = pins(
        {source: {"commit": COMMIT, "files": {"q/a.gguf": pin(A, 1)}}, "file:l.gguf": {"files": {"": pin(C)}}}
    )
    state = desired(body(text), locks=(locked,))
    assert [spec.digest for spec in state.models["m"].files] == [A, B]
    assert state.adapters["l"].files[0].digest == C


def test_any_mirror_may_be_the_one_that_is_locked() -> None:
    text = f"models:\n  m: {{sources: [https://y.io/a.gguf, {URL}]}}\n"
    assert desired(body(text), locks=(pins({URL: {"files": {"": pin()}}}),)).models["m"].files[0].digest == A


def test_mirrors_that_are_locked_to_different_bytes_disagree() -> None:
    text = f"models:\n  m: {{sources: [https://y.io/a.gguf, {URL}]}}\n"
    locked = pins({URL: {"files": {"": pin(A)}}, "https://y.io/a.gguf": {"files": {"": pin(B)}}})
    assert [message.split(":")[1] for message in errors(body(text), locks=(locked,))] == ["7", "14"]


def test_an_inline_digest_must_agree_and_both_positions_are_reported() -> None:
    text = f"models:\n  m:\n    source: {URL}\n    sha256: {A}\n    bytes: 7\n"
    locked = lock(
        f'{{"format": 1,\n "sources": {{"{URL}":\n  {{"files": {{"": {{"sha256": "{B}",\n "bytes": 8}}}}}}}}}}\n'
    )
    assert errors(body(text), locks=(locked,)) == [
        f"m/a.yaml:5:13: models.m.sha256: manifest and lock must agree: here '{A}', at m/reconcile.lock:3:29 '{B}'",
        "m/a.yaml:6:12: models.m.bytes: manifest and lock must agree: here '7', at m/reconcile.lock:4:11 '8'",
        f"m/reconcile.lock:3:29: sources.{URL}.files.''.sha256: manifest and lock must agree: "
        f"here '{B}', at m/a.yaml:5:13 '{A}'",
        f"m/reconcile.lock:4:11: sources.{URL}.files.''.bytes: manifest and lock must agree: "
        "here '8', at m/a.yaml:6:12 '7'",
    ]


def test_an_inline_digest_that_agrees_is_fine() -> None:
    text = f"models:\n  m: {{source: {URL}, sha256: {A.upper()}}}\n"
    assert desired(body(text), locks=(pins({URL: {"files": {"": pin(A)}}}),)).models["m"].files[0].digest == A


def test_a_lock_holds_for_the_manifests_of_its_own_path_only() -> None:
    other = lock(json.dumps({"format": 1, "sources": {URL: {"files": {"": pin()}}}}), "n/reconcile.lock", "/real/n")
    assert "no SHA-256 is declared" in error(body(MODEL), locks=(other,))


def test_two_paths_each_have_their_own_lock() -> None:
    first = file(f"apiVersion: reconciler/v1\n{MODEL}", "m/a.yaml")
    second = file("apiVersion: reconciler/v1\n" + MODEL.replace("m:", "n:"), "n/b.yaml", folder="/n", root="/n")
    locks = (
        pins({URL: {"files": {"": pin(A)}}}),
        lock(json.dumps({"format": 1, "sources": {URL: {"files": {"": pin(B)}}}}), "n/reconcile.lock", "/n"),
    )
    models = desired(first, second, locks=locks).models
    assert (models["m"].files[0].digest, models["n"].files[0].digest) == (A, B)


def test_unused_pins_are_warnings_with_a_position_and_without_secrets() -> None:
    locked = pins({URL: {"files": {"": pin(), "b": pin()}}, "https://u:secret@y.io/x?t=secret": {"files": {"": pin()}}})
    result = loaded(body(MODEL), locks=(locked,))
    assert result.errors == ()
    assert result.warnings == (
        "m/reconcile.lock:9:9: sources.https://x.io/a.gguf.files.b: no manifest uses this pin; it protects nothing",
        "m/reconcile.lock:16:9: sources.https://y.io/x.files.'': no manifest uses this pin; it protects nothing",
    )


def test_the_lock_of_a_wrong_tree_gives_no_warnings() -> None:
    assert loaded(body("nope: 1\n"), locks=(pins({URL: {"files": {"": pin()}}}),)).warnings == ()


def test_a_lock_of_another_commit_than_its_source_is_wrong() -> None:
    source = f"hf://o/r@{COMMIT}/a.gguf"
    locked = pins({source: {"commit": "2" * 40, "files": {"": pin()}}})
    message = error(body(f"models:\n  m: {{source: {source}}}\n"), locks=(locked,))
    assert message.startswith("m/reconcile.lock:5:17: sources.")
    assert message.endswith(f"wanted the commit of the source, '{COMMIT}', got '{'2' * 40}'")


def test_a_lock_of_the_right_commit_is_right() -> None:
    source = f"hf://o/r@{COMMIT}/a.gguf"
    locked = pins({source: {"commit": COMMIT, "files": {"": pin()}}})
    assert desired(body(f"models:\n  m: {{source: {source}}}\n"), locks=(locked,)).models["m"].files[0].digest == A


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: wanted a JSON value"),
        ("{", "1:2: wanted a key in double quotes"),
        ("{'a': 1}", "1:2: wanted a key in double quotes"),
        ('{"a" 1}', "1:6: wanted ':'"),
        ('{"a": 1 "b": 2}', "1:9: wanted ','"),
        ('{"a": [1 2]}', "1:10: wanted ','"),
        ('{"a": 1,}', "1:9: wanted a key in double quotes"),
        ('{"a": nope}', "1:7: wanted a JSON value"),
        ('{"a":\n 01}', "2:3: wanted ','"),
        ('{"a": "x', "1:7: Unterminated string starting at"),
        ('{"a": "\n"}', "1:8: Invalid control character at"),
        ("{} x", "1:4: wanted the end of the file"),
        ("[" * 20, "1:17: at most 16 levels of nesting are allowed"),
        ("# comment", "1:1: wanted a JSON value"),
    ],
)
def test_a_lock_is_strict_json(text: str, message: str) -> None:
    assert error(body("models: {}\n"), locks=(lock(text),)) == f"m/reconcile.lock:{message}"


def test_a_lock_is_utf_8() -> None:
    locked = LockFile("l", '{"ä":\n"ä'.encode() + b"\xff", "/real/m")
    assert error(body("models: {}\n"), locks=(locked,)) == "l:2:3: wanted UTF-8"


def test_a_lock_that_is_too_large_is_not_read() -> None:
    locked = LockFile("l", b" " * (MAX_FILE_BYTES + 1), "/real/m")
    assert error(body("models: {}\n"), locks=(locked,)).startswith("l:1:1: wanted a file of at most 32 MiB")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "1:1: wanted a map, got a list"),
        ("{}", "1:1: the key 'format' is missing"),
        ('{"format": 2}', "1:12: format: wanted format 1, got '2'"),
        ('{"format": "1"}', "1:12: format: wanted format 1, got '1'"),
        ('{"format": 1, "x": 1}', "1:15: x: unknown key 'x'"),
        ('{"format": 1, "format": 1}', "1:15: format: duplicate key 'format'; the first is at m/reconcile.lock:1:2"),
        (
            '{"format": 1, "sources": {"s": {"files": {"": {}}}}}',
            "1:43: sources.s.files.'': the key 'sha256' is missing",
        ),
        (
            '{"format": 1, "sources": {"s": {"files": {"": {"sha256": null}}}}}',
            "1:58: sources.s.files.''.sha256: wanted a SHA-256 of 64 hexadecimal digits, got nothing",
        ),
        (
            '{"format": 1, "sources": {"s": {"commit": "main"}}}',
            "1:43: sources.s.commit: wanted a commit of 40 hexadecimal digits, got 'main'",
        ),
    ],
)
def test_a_lock_is_checked_like_a_manifest(text: str, message: str) -> None:
    assert error(body("models: {}\n"), locks=(lock(text),)) == f"m/reconcile.lock:{message}"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"format": 1, "sources": []}',
        f'{{"format": 1, "sources": {{"{URL}": {{"files": []}}}}}}',
        f'{{"format": 1, "sources": {{"{URL}": {{"files": {{"": {{"sha256": "x"}}}}}}}}}}',
        f'{{"format": 1, "sources": {{"{URL}": {{"files": {{"": 5}}}}}}}}',
    ],
)
def test_what_an_error_in_the_lock_may_hide_is_not_called_unpinned(text: str) -> None:
    assert error(body(MODEL), locks=(lock(text),)).startswith("m/reconcile.lock:1:")


def test_what_no_error_in_the_lock_can_hide_is_called_unpinned() -> None:
    text = '{"format": 1, "sources": {"https://other.io/x": {"files": []}}}'
    assert len(errors(body(MODEL), locks=(lock(text),))) == 2


def test_long_keys_escapes_and_surrogate_pairs_are_read() -> None:
    url = f"https://x.io/{'x' * 2000}/a.gguf"
    text = f"models:\n  m:\n    source: {url}\n    name: a.gguf\n"
    escaped = json.dumps({"format": 1, "sources": {url: {"files": {"": pin()}}, "https://\U0001f600": {}}}).replace(
        "/", "\\/"
    )
    assert "\\ud83d" in escaped
    assert desired(body(text), locks=(lock(escaped),)).models["m"].files[0].digest == A


def test_a_second_lock_of_the_same_root_is_the_same_file() -> None:
    locked = pins({URL: {"files": {"": pin()}}})
    result = load((layer(body(MODEL), locks=(locked, locked)),), paths=())
    assert result.errors == ()
    assert result.warnings == ()
