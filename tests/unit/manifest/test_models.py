"""Models and adapters: sources, files, roles, inheritance."""

from __future__ import annotations

import pytest

from reconciler.core.desired import Adopt, FileSpec, ModelSpec, Role, Transfer
from reconciler.core.digest import Digest
from reconciler.core.source import HuggingFaceFile, LocalFile, Source, WebFile
from tests.unit.manifest.trees import COMMIT, HEADER, A, B, C, body, desired, error, errors, file, hint, reasons

PRODUCT = f"""
# yaml-language-server: $schema=../schemas/manifest.schema.json
apiVersion: reconciler/v1
models:
  qwen2.5-coder-7b:
    source: hf://Qwen/Qwen2.5-Coder-7B-Instruct-GGUF@{COMMIT}/qwen2.5-coder-7b-instruct-q4_k_m.gguf
    sha256: {A}                      # inline
    bytes: 4683073536
    labels: [chat, code]
  llama-70b:
    source: hf://bartowski/Llama-3.3-70B-Instruct-GGUF@{COMMIT}
    files:
      Q6_K/Llama-3.3-70B-Instruct-Q6_K-00001-of-00002.gguf: {{sha256: {A}}}
      Q6_K/Llama-3.3-70B-Instruct-Q6_K-00002-of-00002.gguf: {{sha256: {B}}}
      mmproj-f16.gguf: {{sha256: {C}, role: mmproj}}
  house-style:
    sources: [https://mirror.lan/a.gguf, https://example.com/a.gguf]
    sha256: {C}
adapters:
  sql: {{base: qwen2.5-coder-7b, source: https://example.com/sql-lora.gguf, sha256: {B}}}
slots:
  chat:
    model: qwen2.5-coder-7b
    runtime:
      driver: link
concurrency: {{max: 2, hard_cap: 4, per_host: 2, bandwidth: 200MiB}}
pruning: {{mode: orphans, ttl: 24h, quarantine: 7d, max_delete: {{share: 30%, bytes: 200GiB}}}}
"""


def test_the_example_of_the_product_is_read() -> None:
    state = desired(file(PRODUCT))
    repo = "bartowski/Llama-3.3-70B-Instruct-GGUF"
    first, second = (f"Q6_K/Llama-3.3-70B-Instruct-Q6_K-0000{i}-of-00002.gguf" for i in (1, 2))
    assert state.models["llama-70b"].files == (
        FileSpec(first, Digest(A), None, Role.SHARD, (HuggingFaceFile(repo, COMMIT, first),)),
        FileSpec(second, Digest(B), None, Role.SHARD, (HuggingFaceFile(repo, COMMIT, second),)),
        FileSpec("mmproj-f16.gguf", Digest(C), None, Role.MMPROJ, (HuggingFaceFile(repo, COMMIT, "mmproj-f16.gguf"),)),
    )
    assert state.models["house-style"] == ModelSpec(
        "house-style",
        (
            FileSpec(
                "a.gguf",
                Digest(C),
                None,
                Role.MODEL,
                (WebFile("https://mirror.lan/a.gguf"), WebFile("https://example.com/a.gguf")),
            ),
        ),
        provider="https",
    )
    assert state.models["qwen2.5-coder-7b"].labels == ("chat", "code")
    assert state.models["qwen2.5-coder-7b"].files[0].size_bytes == 4683073536
    assert state.adapters["sql"].base == "qwen2.5-coder-7b"
    assert state.adapters["sql"].files[0].path == "sql-lora.gguf"
    assert state.slots["chat"].model == "qwen2.5-coder-7b"


def only_source(source: str, *, more: str = "", folder: str = "/real/m/sub") -> Source:
    text = f"{HEADER}models:\n  m:\n    source: {source}\n    sha256: {A}\n    name: x.gguf\n{more}"
    (found,) = desired(file(text, folder=folder)).models["m"].files[0].sources
    return found


def source_error(source: str, *, more: str = "") -> str:
    return error(body(f"models:\n  m:\n    source: {source}\n    sha256: {A}\n    name: x.gguf\n{more}"))


@pytest.mark.parametrize(
    "url",
    [
        "https://x.io/a/b.gguf",
        "http://127.0.0.1:8080/a",
        "https://x.io",
        "https://u:p@x.io/a?b=c#d",
        "https://[::1]:80/x",
    ],
)
def test_web_sources_are_kept_as_written(url: str) -> None:
    assert only_source(f"'{url}'") == WebFile(url)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:x/a.gguf", "/real/m/sub/x/a.gguf"),
        ("file:../a.gguf", "/real/m/a.gguf"),
        ("file:./x/../a.gguf", "/real/m/sub/a.gguf"),
        ("file:/srv/a.gguf", "/srv/a.gguf"),
        ("file:///srv/a.gguf", "/srv/a.gguf"),
        ("file:////srv/a.gguf", "/srv/a.gguf"),
        ("file:/srv/../etc/a", "/etc/a"),
    ],
)
def test_file_sources_are_absolute_and_know_their_root(text: str, path: str) -> None:
    assert only_source(text) == LocalFile(path, "/real/m")


def test_hugging_face_sources_name_a_commit() -> None:
    assert only_source(f"hf://o/r@{COMMIT}/a/b.gguf") == HuggingFaceFile("o/r", COMMIT, "a/b.gguf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://x/y", "wanted https://…, http://…, hf://ORG/REPO@COMMIT/PATH or file:PATH, got 'ftp://x/y'"),
        ("just-a-name.gguf", "wanted https://…, http://…, hf://ORG/REPO@COMMIT/PATH or file:PATH, got "),
        ("https:///x", "wanted a URL such as https://example.com/model.gguf, without spaces"),
        ("https://x.io/a b", "wanted a URL such as https://example.com/model.gguf, without spaces"),
        ("https://x.io:99999/a", "the port in the URL is not one from 1 to 65535"),
        ("https://x.io:0/a", "the port in the URL is not one from 1 to 65535"),
        ("https://u:secret/x", "the port in the URL is not one from 1 to 65535"),
        ("hf://o/r@main/a.gguf", "wanted a commit of 40 hexadecimal digits after '@', got 'main'"),
        ("hf://o/r/a.gguf", "wanted "),
        (f"hf://o/r@{COMMIT}", "wanted the path of a file after the commit, got ''"),
        ("'file:'", "wanted a path after file:, got nothing"),
        ("file://host/a", "wanted a file on this machine, got 'file://host/a'"),
        ("file:folder/", "wanted a file, got the folder 'file:folder/'"),
    ],
)
def test_a_bad_source_is_refused_at_its_value(text: str, message: str) -> None:
    assert source_error(text).startswith(f"m/a.yaml:4:13: models.m.source: {message}")


@pytest.mark.parametrize("url", ["https://u:se/cret@x.io/a", "ftp://x/y?token=secret", "https://u:secret@ x"])
def test_no_message_shows_what_a_url_hides(url: str) -> None:
    assert "secret" not in source_error(f"'{url}'")
    assert "cret" not in source_error(f"'{url}'")


def test_no_path_shows_what_a_url_hides() -> None:
    assert "secret" not in "".join(errors(body("models:\n  https://u:secret@x.io?token=secret: {}\n")))


def test_every_bad_mirror_is_reported() -> None:
    text = f"models:\n  m:\n    sources:\n    - https://x.io/a.gguf\n    - oci://x\n    - nope\n    sha256: {A}\n"
    assert [message.split(": ")[:2] for message in errors(body(text))] == [
        ["m/a.yaml:6:7", "models.m.sources[1]"],
        ["m/a.yaml:7:7", "models.m.sources[2]"],
    ]


def test_a_model_needs_one_kind_of_source() -> None:
    assert error(body(f"models:\n  m: {{sha256: {A}}}\n")) == (
        "m/a.yaml:3:3: models.m: it has neither source nor sources"
    )
    both = f"models:\n  m:\n    source: https://x.io/a\n    sources: [https://x.io/a]\n    sha256: {A}\n"
    assert error(body(both)) == "m/a.yaml:5:5: models.m.sources: wanted source or sources, got both"
    assert error(body(f"models:\n  m: {{sources: [], sha256: {A}}}\n")) == (
        "m/a.yaml:3:16: models.m.sources: wanted at least 1, got an empty list"
    )


# ---- fail closed -----------------------------------------------------------------------------


def test_a_model_without_a_digest_is_refused_at_its_name() -> None:
    text = body("models:\n  m: {source: https://x.io/a.gguf}\n")
    assert error(text) == "m/a.yaml:3:3: models.m: no SHA-256 is declared; bytes without one are never published"
    assert reasons(text) == ["Unpinned"]
    assert "lock" not in (hint(text) or "")


def test_a_file_without_a_digest_is_refused_at_its_path() -> None:
    text = f"models:\n  m:\n    source: https://x.io/\n    files:\n      a.gguf: {{sha256: {A}}}\n      b.gguf: {{}}\n"
    assert error(body(text)).startswith("m/a.yaml:7:7: models.m.files.b.gguf: no SHA-256 is declared")


def test_a_bad_digest_is_not_also_a_missing_one() -> None:
    assert reasons(body("models:\n  m: {source: https://x.io/a.gguf, sha256: x}\n")) == ["BadValue"]


def test_one_digest_has_one_size() -> None:
    text = (
        f"models:\n  a: {{source: https://x.io/a, sha256: {A}, bytes: 1}}\n"
        f"  b: {{source: https://x.io/b, sha256: {A}, bytes: 2}}\n"
        f"  c: {{source: https://x.io/c, sha256: {A}}}\n"
        f"  d: {{source: https://x.io/d, sha256: {A}, bytes: 1}}\n"
    )
    column = text.splitlines()[2].index("2}") + 1
    assert error(body(text)).startswith(
        f"m/a.yaml:4:{column}: models.b.bytes: wanted 1, the size of the same SHA-256 at "
    )


# ---- files -----------------------------------------------------------------------------------


def files(source: str, *paths: str) -> tuple[FileSpec, ...]:
    listed = "".join(f"      {path}: {{sha256: {A}}}\n" for path in paths)
    return desired(body(f"models:\n  m:\n    source: {source}\n    files:\n{listed}")).models["m"].files


def test_with_files_the_source_is_their_prefix() -> None:
    assert files("https://x.io/m/", "a/b.gguf")[0].sources == (WebFile("https://x.io/m/a/b.gguf"),)
    assert files("https://x.io/m?t=1", "a b.gguf")[0].sources == (WebFile("https://x.io/m/a%20b.gguf?t=1"),)
    assert files("file:w/", "a/b.gguf")[0].sources == (LocalFile("/real/m/w/a/b.gguf", "/real/m"),)
    assert files("file:w", "a.gguf")[0].sources == (LocalFile("/real/m/w/a.gguf", "/real/m"),)
    assert files(f"hf://o/r@{COMMIT}/q", "a.gguf")[0].sources == (HuggingFaceFile("o/r", COMMIT, "q/a.gguf"),)


def test_every_file_has_every_mirror() -> None:
    text = f"models:\n  m:\n    sources: [https://x.io, file:w]\n    files: {{a.gguf: {{sha256: {A}}}}}\n"
    assert desired(body(text)).models["m"].files[0].sources == (
        WebFile("https://x.io/a.gguf"),
        LocalFile("/real/m/w/a.gguf", "/real/m"),
    )


def test_a_bad_prefix_is_reported_once_however_many_files_there_are() -> None:
    listed = "".join(f"      {name}.gguf: {{sha256: {A}}}\n" for name in "abc")
    text = f"models:\n  m:\n    source: https://x y\n    files:\n{listed}"
    assert error(body(text)).startswith("m/a.yaml:4:13: models.m.source: wanted a URL")


@pytest.mark.parametrize("path", ["/abs", "../up", "a//b", "a/./b", "con.gguf", "a:b", ".hidden", "'a.'"])
def test_a_path_that_is_unsafe_somewhere_is_refused_at_the_path(path: str) -> None:
    text = f"models:\n  m:\n    source: https://x.io\n    files:\n      {path}: {{sha256: {A}}}\n"
    message = error(body(text))
    assert message.startswith("m/a.yaml:6:7: models.m.files.")
    assert "the file path " in message


def test_paths_that_are_equal_somewhere_collide() -> None:
    listed = "".join(
        f"      {path}: {{sha256: {A}}}\n" for path in ("a.gguf", "q/b", "A.GGUF", "q", "a.gguf/c", "Q/B2")
    )
    assert errors(body(f"models:\n  m:\n    source: https://x.io\n    files:\n{listed}")) == [
        "m/a.yaml:8:7: models.m.files.A.GGUF: 'A.GGUF' collides on disk with 'a.gguf', declared at m/a.yaml:6:7",
        "m/a.yaml:9:7: models.m.files.q: 'q' collides on disk with 'q/b', declared at m/a.yaml:7:7",
        "m/a.yaml:10:7: models.m.files.a.gguf/c: 'a.gguf/c' collides on disk with 'a.gguf', declared at m/a.yaml:6:7",
    ]


def test_a_model_with_files_has_no_digest_and_size_of_its_own() -> None:
    text = (
        f"models:\n  m:\n    source: https://x.io\n    sha256: {A}\n    bytes: 1\n    files: {{a: {{sha256: {A}}}}}\n"
    )
    assert errors(body(text)) == [
        "m/a.yaml:5:5: models.m.sha256: where there are files, each of them has its own sha256",
        "m/a.yaml:6:5: models.m.bytes: where there are files, each of them has its own bytes",
    ]


def test_files_are_not_empty() -> None:
    text = "models:\n  m:\n    source: https://x.io\n    files: {}\n"
    assert error(body(text)) == "m/a.yaml:5:12: models.m.files: wanted at least 1 file path, got an empty map"


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("q/m-00001-of-00002.gguf", Role.SHARD),
        ("model-00001-of-00030.safetensors", Role.SHARD),
        ("x-mmproj-00001-of-00002.gguf", Role.SHARD),
        ("mmproj-f16.gguf", Role.MMPROJ),
        ("q/Model-MMPROJ.gguf", Role.MMPROJ),
        ("tokenizer.json", Role.TOKENIZER),
        ("tokenizer_config.json", Role.TOKENIZER),
        ("tokenizer.model", Role.TOKENIZER),
        ("config.json", Role.CONFIG),
        ("m.gguf", Role.MODEL),
        ("model-1-of-2.gguf", Role.MODEL),
    ],
)
def test_a_role_is_told_from_the_name(path: str, role: Role) -> None:
    assert files("https://x.io", path)[0].role is role


def test_a_declared_role_wins() -> None:
    text = f"models:\n  m:\n    source: https://x.io\n    files: {{a.gguf: {{sha256: {A}, role: config}}}}\n"
    assert desired(body(text)).models["m"].files[0].role is Role.CONFIG


# ---- names -----------------------------------------------------------------------------------


def single(more: str, source: str = "https://x.io/a.gguf") -> ModelSpec:
    return desired(body(f"models:\n  m:\n    source: {source}\n    sha256: {A}\n{more}")).models["m"]


def test_a_single_file_is_called_as_in_its_source_or_as_the_name_says() -> None:
    assert (single("").files[0].path, single("").display_name) == ("a.gguf", None)
    named = single("    name: q/b.gguf\n")
    assert (named.files[0].path, named.display_name) == ("q/b.gguf", "q/b.gguf")
    assert single("", "'https://x.io/a.gguf?b=c/d'").files[0].path == "a.gguf"


def test_with_files_the_name_is_only_shown() -> None:
    text = f"models:\n  m: {{source: https://x.io, name: 'A: model', files: {{a.gguf: {{sha256: {A}}}}}}}\n"
    model = desired(body(text)).models["m"]
    assert (model.files[0].path, model.display_name) == ("a.gguf", "A: model")


@pytest.mark.parametrize("source", ["https://x.io/", "https://x.io", "https://x.io/a%20b", "https://x.io/.."])
def test_a_source_without_a_usable_name_needs_one(source: str) -> None:
    text = body(f"models:\n  m:\n    source: {source}\n    sha256: {A}\n")
    assert error(text).startswith("m/a.yaml:4:13: models.m.source: the file name in the source, ")
    assert hint(text) == "set `name` to the file name that runtimes shall see"


def test_a_bad_file_name_is_refused_at_its_value() -> None:
    text = f"models:\n  m:\n    source: https://x.io/a\n    sha256: {A}\n    name: ../a\n"
    assert error(body(text)) == (
        "m/a.yaml:6:11: models.m.name: the file name '../a' must not contain '..' as a folder or file name"
    )


# ---- inheritance -----------------------------------------------------------------------------

MODEL = f"source: https://x.io/a.gguf, sha256: {A}"


def test_defaults_hold_where_a_model_says_nothing() -> None:
    text = f"""
    defaults: {{provider: house, labels: [all], retries: 0, idle_timeout: 5m}}
    models:
      plain: {{{MODEL}}}
      own: {{{MODEL}, provider: mine, labels: [], adopt: hardlink}}
    adapters:
      a: {{base: plain, {MODEL}}}
    """
    state = desired(body(text))
    plain, own, adapter = state.models["plain"], state.models["own"], state.adapters["a"]
    assert (plain.provider, plain.labels, plain.transfer) == ("house", ("all",), Transfer(0, 300.0))
    assert (own.provider, own.labels, own.transfer) == ("mine", (), Transfer(0, 300.0, Adopt.HARDLINK))
    assert (adapter.provider, adapter.labels, adapter.transfer) == ("https", (), Transfer(0, 300.0))


def test_a_model_takes_from_the_catalog_what_it_does_not_say() -> None:
    text = f"""
    catalog:
      base: {{{MODEL}, bytes: 7, license: mit, labels: [x], name: base.gguf}}
      more: {{catalog: base, license: apache-2.0}}
    models:
      m: {{catalog: more, labels: [y]}}
      n: {{catalog: base, sources: [https://y.io/b.gguf]}}
      o: {{catalog: base, sha256: {B}}}
    """
    models = desired(body(text)).models
    m = models["m"]
    assert (m.license, m.labels, m.display_name, m.files[0].digest, m.files[0].size_bytes) == (
        "apache-2.0", ("y",), "base.gguf", A, 7,
    )  # fmt: skip
    assert models["n"].files[0].sources == (WebFile("https://y.io/b.gguf"),)
    assert (models["o"].files[0].digest, models["o"].files[0].size_bytes) == (B, None)


def test_own_files_replace_an_inherited_digest_and_the_other_way_round() -> None:
    text = f"""
    catalog:
      one: {{source: https://x.io/a.gguf, sha256: {A}, bytes: 1}}
      many: {{source: https://x.io/a.gguf, files: {{b.gguf: {{sha256: {B}}}}}}}
    models:
      m: {{catalog: one, files: {{c.gguf: {{sha256: {C}}}}}}}
      n: {{catalog: many, sha256: {A}}}
    """
    models = desired(body(text)).models
    assert [file.path for file in models["m"].files] == ["c.gguf"]
    assert [file.path for file in models["n"].files] == ["a.gguf"]


def test_an_error_in_the_catalog_is_reported_once_and_there() -> None:
    text = body("catalog:\n  c: {source: oci://x}\nmodels:\n  m: {catalog: c}\n  n: {catalog: c}\n")
    assert [message.split(": ")[:2] for message in errors(text)] == [
        ["m/a.yaml:3:15", "catalog.c.source"],
        ["m/a.yaml:5:3", "models.m"],
        ["m/a.yaml:6:3", "models.n"],
    ]


def test_a_bad_value_in_the_catalog_is_not_a_missing_one_in_a_model() -> None:
    assert reasons(body("catalog:\n  c: {source: https://x.io/a, sha256: x}\nmodels:\n  m: {catalog: c}\n")) == [
        "BadValue"
    ]


def test_a_contradiction_in_the_catalog_is_found_although_nobody_uses_it() -> None:
    assert reasons(body("catalog:\n  c: {source: https://x.io/a, sources: [https://x.io/a]}\n")) == ["Conflict"]


def test_a_dangling_alias_is_refused_at_its_value() -> None:
    assert error(body("models:\n  m: {catalog: nope}\n")) == (
        "m/a.yaml:3:16: models.m.catalog: wanted the name of a catalog entry, got 'nope'"
    )
    assert error(body("catalog:\n  c: {catalog: nope}\nmodels:\n  m: {catalog: c}\n")) == (
        "m/a.yaml:3:16: catalog.c.catalog: wanted the name of a catalog entry, got 'nope'"
    )


def test_a_cycle_in_the_catalog_is_refused_at_every_value_in_it() -> None:
    text = "catalog:\n  a: {catalog: b}\n  b: {catalog: c}\n  c: {catalog: b}\n  d: {catalog: a}\n"
    text += "models:\n  m: {catalog: d}\n"
    assert errors(body(text)) == [
        "m/a.yaml:4:16: catalog.b.catalog: catalog entries build upon each other: 'b' → 'c' → 'b'",
        "m/a.yaml:5:16: catalog.c.catalog: catalog entries build upon each other: 'b' → 'c' → 'b'",
    ]


def test_a_bad_alias_hides_what_would_be_inherited() -> None:
    assert reasons(body("models:\n  m: {catalog: [x]}\n")) == ["BadValue"]


def test_an_alias_of_yaml_shares_fields_too() -> None:
    text = f"models:\n  m: &m {{{MODEL}}}\n  n: *m\n"
    assert desired(body(text)).models["n"].files == desired(body(text)).models["m"].files
