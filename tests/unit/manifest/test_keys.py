"""Which keys there are: unknown, unsupported and missing ones."""

from __future__ import annotations

import pytest

from tests.unit.manifest.trees import HEADER, A, B, body, error, errors, file, hint, loaded, reasons

MODEL = f"source: https://x.io/m.gguf, sha256: {A}"

UNSUPPORTED = [
    *(("models", f"models: {{m: {{{MODEL}, {key}: 1}}}}\n", f"models.m.{key}") for key in ("pin", "track")),
    ("slots", f"models: {{m: {{{MODEL}}}}}\nslots: {{s: {{model: m, anchor: true}}}}\n", "slots.s.anchor"),
    *(("pruning", f"pruning: {{{key}: 1}}\n", f"pruning.{key}") for key in ("quota", "min_free")),
    *(("section", f"{key}: {{}}\n", key) for key in ("upstreams", "peers")),
    ("catalog", "catalog: {c: {pin: true}}\n", "catalog.c.pin"),
]


@pytest.mark.parametrize(("where", "text", "path"), UNSUPPORTED, ids=[path for _, _, path in UNSUPPORTED])
def test_a_key_of_a_later_version_is_refused_at_the_key(where: str, text: str, path: str) -> None:
    key = path.rpartition(".")[2]
    manifest = HEADER + text
    (found,) = loaded(file(manifest)).errors
    assert (found.reason, found.path) == ("UnsupportedKey", path)
    assert found.message == f"the key {key!r} is not supported by this version"
    assert found.line is not None
    assert found.column is not None
    assert manifest.splitlines()[found.line - 1][found.column - 1 :].startswith(f"{key}:")


@pytest.mark.parametrize("driver", ["http", "command"])
def test_a_driver_of_a_later_version_is_refused_at_its_value(driver: str) -> None:
    text = f"models: {{m: {{{MODEL}}}}}\nslots:\n  s:\n    model: m\n    runtime: {{driver: {driver}}}\n"
    message = f"slots.s.runtime.driver: {driver!r} is not supported by this version; wanted link or process"
    assert error(body(text)) == f"m/a.yaml:6:23: {message}"


@pytest.mark.parametrize("kind", ["oci", "ollama", "s3"])
def test_a_source_of_a_later_version_is_refused_at_its_value(kind: str) -> None:
    text = f"models:\n  m: {{source: {kind}://x/y, sha256: {A}}}\n"
    assert reasons(body(text)) == ["UnsupportedValue"]
    assert error(body(text)).startswith(
        f"m/a.yaml:3:15: models.m.source: sources of the kind {kind}:// are not supported by this version; wanted "
    )


def test_an_unknown_key_is_refused_at_the_key_with_the_nearest_known_one() -> None:
    text = body("modles: {}\n")
    assert error(text) == "m/a.yaml:2:1: modles: unknown key 'modles'"
    assert hint(text) == "did you mean 'models'?"


def test_an_unknown_key_that_resembles_none_gets_the_list() -> None:
    assert hint(body("egress: {zzzzzz: 1}\n")) == "known keys: allow, allow_http, allow_private"


@pytest.mark.parametrize("key", ["name", "license", "labels", "provider", "adopt", "catalog"])
def test_adapters_have_fewer_keys_than_models(key: str) -> None:
    text = f"models: {{m: {{{MODEL}}}}}\nadapters: {{a: {{base: m, {MODEL}, {key}: clone}}}}\n"
    assert reasons(body(text)) == ["UnknownKey"]


def test_every_unknown_key_is_reported_and_the_rest_is_checked() -> None:
    text = f"nope: 1\nmodels:\n  m: {{{MODEL}, x: 1, y: 2, labels: z}}\n"
    assert len(errors(body(text))) == 4


def test_every_document_needs_its_version() -> None:
    text = f"{HEADER}models: {{}}\n---\nslots: {{}}\n---\n# nothing\n"
    assert error(file(text)) == "m/a.yaml:4:1: the key 'apiVersion' is missing"
    assert hint(file(text)) == "for example `apiVersion: reconciler/v1`"


def test_another_version_is_refused_at_its_value() -> None:
    assert error(file("apiVersion: reconciler/v2\n")) == (
        "m/a.yaml:1:13: apiVersion: wanted reconciler/v1, got 'reconciler/v2'"
    )


def test_a_document_that_is_no_map_is_refused() -> None:
    assert error(file("- a\n")) == "m/a.yaml:1:1: wanted a map, got a list"
    assert error(file("hello\n")) == "m/a.yaml:1:1: wanted a map, got 'hello'"


def test_a_missing_key_is_reported_at_the_key_of_its_map() -> None:
    text = f"models:\n  m: {{{MODEL}}}\nslots:\n  chat: {{}}\nadapters:\n  a: {{source: https://x.io/l, sha256: {B}}}\n"
    assert errors(body(text)) == [
        "m/a.yaml:5:3: slots.chat: the key 'model' is missing",
        "m/a.yaml:7:3: adapters.a: the key 'base' is missing",
    ]


def test_a_key_with_a_bad_value_is_not_also_missing() -> None:
    assert errors(body("slots:\n  chat: {model: [x]}\n")) == [
        "m/a.yaml:3:17: slots.chat.model: wanted a single value, got a list"
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a/b", "must not contain '/'"),
        ("a~b", "must not contain '~'"),
        ("' a'", "must not be empty or begin or end with a space"),
        ("''", "must not be empty or begin or end with a space"),
        ('"a\\tb"', "must not contain '\\t'"),
        ("x" * 201, "is 201 characters long, at most 200 are allowed"),
    ],
)
def test_a_bad_name_is_refused_at_the_name(name: str, problem: str) -> None:
    message = error(body(f"models:\n  {name}: {{{MODEL}}}\n"))
    assert message.startswith("m/a.yaml:3:3: models.")
    assert message.endswith(problem)
    assert "\n" not in message


def test_names_with_a_colon_are_normal_and_slot_names_are_not() -> None:
    text = f"models:\n  llama3:8b: {{{MODEL}}}\nslots:\n  Chat: {{model: llama3:8b}}\n"
    assert error(body(text)).startswith("m/a.yaml:5:3: slots.Chat: the slot name 'Chat' must be 1 to 32 characters")


def test_names_that_are_equal_on_disk_collide_among_models_and_among_adapters() -> None:
    text = (
        f"models:\n  llama3:8b: {{{MODEL}}}\n  LLAMA3_8B: {{{MODEL}}}\n"
        f"adapters:\n  a?b: {{base: llama3:8b, {MODEL}}}\n  llama3_8b: {{base: llama3:8b, {MODEL}}}\n"
        f"  a_b: {{base: llama3:8b, {MODEL}}}\n"
    )
    assert errors(body(text)) == [
        "m/a.yaml:4:3: models.LLAMA3_8B: 'LLAMA3_8B' and 'llama3:8b', declared at m/a.yaml:3:3, "
        "would both be called 'LLAMA3_8B' on disk",
        "m/a.yaml:8:3: adapters.a_b: 'a_b' and 'a?b', declared at m/a.yaml:6:3, would both be called 'a_b' on disk",
    ]


def test_guessing_what_was_meant_ends_where_nobody_reads_it() -> None:
    text = "".join(f"models{i}: 1\n" for i in range(1_001))
    hints = [found.hint or "" for found in loaded(body(text)).errors]
    assert [hint.startswith("did you mean") for hint in hints] == [True] * 1_000 + [False]
