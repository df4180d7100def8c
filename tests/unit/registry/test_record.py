from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]

from reconciler.core.desired import Kind, Role
from reconciler.core.digest import Digest, digest_of
from reconciler.core.entry import Entry, EntryFile, EntrySpec, entry_file, file_set
from reconciler.core.errors import StalledError
from reconciler.registry.record import record_schema_text, render_record
from tests.fakes.clock import START

A, B, C = (digest_of(text) for text in (b"a", b"b", b"c"))
SIZES = {A: 10, B: 20, C: 30}
SCHEMA_FILE = Path(__file__).parents[3] / "schemas" / "model_record.schema.json"


def entry(*files: EntryFile, display_name: str | None = None) -> Entry:
    spec = EntrySpec(Kind.MODEL, "llama3:8b", files, "hf", None, display_name, (), None)
    return Entry(spec, file_set(files).id, (), START)


def blob_path(digest: Digest) -> str:
    return f"/srv/store/by-hash/{digest}"


def render(found: Entry, url: str | None = "hf://org/repo@abc/model.gguf") -> bytes:
    return render_record(found, blob_path=blob_path, sizes=SIZES, url=url)


SPLIT = entry(
    EntryFile("Q6/llama-00001-of-00002.gguf", A, Role.SHARD),
    EntryFile("Q6/llama-00002-of-00002.gguf", B, Role.SHARD),
    EntryFile("mmproj.gguf", C, Role.MMPROJ),
)


def test_a_record_holds_the_entry_file_and_all_files() -> None:
    assert json.loads(render(SPLIT)) == {
        "id": "llama3:8b",
        "file": A,
        "name": "llama-00001-of-00002.gguf",
        "path": f"/srv/store/by-hash/{A}",
        "url": "hf://org/repo@abc/model.gguf",
        "sha256": A,
        "cas": "sha256",
        "bytes": 10,
        "provider": "hf",
        "verified": True,
        "files": [
            {
                "name": "Q6/llama-00001-of-00002.gguf",
                "path": f"/srv/store/by-hash/{A}",
                "sha256": A,
                "bytes": 10,
                "role": "shard",
            },
            {
                "name": "Q6/llama-00002-of-00002.gguf",
                "path": f"/srv/store/by-hash/{B}",
                "sha256": B,
                "bytes": 20,
                "role": "shard",
            },
            {"name": "mmproj.gguf", "path": f"/srv/store/by-hash/{C}", "sha256": C, "bytes": 30, "role": "mmproj"},
        ],
    }


def test_a_record_is_indented_ends_with_a_newline_and_is_the_same_each_time() -> None:
    text = render(SPLIT)
    assert text.startswith(b'{\n  "id": "llama3:8b",\n')
    assert text.endswith(b"}\n")
    assert render(SPLIT) == text


@pytest.mark.parametrize(
    ("roles", "wanted"),
    [
        ((Role.CONFIG, Role.SHARD, Role.MODEL), 2),
        ((Role.CONFIG, Role.SHARD, Role.SHARD), 1),
        ((Role.TOKENIZER, Role.CONFIG), 0),
    ],
)
def test_the_entry_file_is_the_first_model_else_shard_else_the_first(roles: tuple[Role, ...], wanted: int) -> None:
    files = tuple(EntryFile(f"{n}.bin", A, role) for n, role in enumerate(roles))
    assert entry_file(entry(*files).spec) == files[wanted]


def test_the_display_name_is_preferred_and_an_unknown_url_is_null() -> None:
    record = json.loads(render(entry(EntryFile("x.gguf", A, Role.MODEL), display_name="Llama “3” 8B"), url=None))
    assert (record["name"], record["url"]) == ("Llama “3” 8B", None)


def test_a_record_that_breaks_the_schema_is_refused() -> None:
    with pytest.raises(StalledError) as failure:
        render_record(SPLIT, blob_path=lambda digest: f"relative/{digest}", sizes=SIZES, url=None)
    assert failure.value.reason == "RecordInvalid"
    assert "models/llama3:8b" in failure.value.message


def test_every_rendered_record_is_valid_by_the_schema() -> None:
    validator = Draft202012Validator(json.loads(record_schema_text()))
    Draft202012Validator.check_schema(validator.schema)
    for found in (SPLIT, replace(SPLIT, spec=replace(SPLIT.spec, display_name="x"))):
        validator.validate(json.loads(render(found)))
        validator.validate(json.loads(render(found, url=None)))


@pytest.mark.parametrize(
    "change",
    [{"downloaded_at": "now"}, {"sha256": "xyz"}, {"cas": "md5"}, {"bytes": -1}, {"provider": None}, {"files": []}],
)
def test_the_schema_is_closed_and_strict(change: dict[str, object]) -> None:
    record = json.loads(render(SPLIT)) | change
    with pytest.raises(ValidationError):
        Draft202012Validator(json.loads(record_schema_text())).validate(record)


def test_the_fields_of_arw_are_required() -> None:
    schema = json.loads(record_schema_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"id", "file", "path", "sha256", "cas", "bytes", "provider", "verified"} <= set(schema["required"])
    assert schema["properties"]["cas"]["enum"] == ["sha256"]
    assert schema["properties"]["sha256"]["pattern"] == "^[a-fA-F0-9]{64}$"
    assert schema["additionalProperties"] is False


def test_the_checked_in_schema_is_the_generated_one() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == record_schema_text()
