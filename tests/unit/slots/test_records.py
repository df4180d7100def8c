from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.slots import records
from reconciler.slots.records import FileSlotRecords
from tests.contract.slot_records import FULL, SERVED


def test_the_text_of_a_record_names_models_generations_and_files() -> None:
    text = json.loads(records.encode(FULL))

    assert (text["format"], text["name"]) == (2, "chat")
    assert text["candidate_deadline"] == "2026-03-01T12:30:00.250000+00:00"
    assert text["current"]["model"] == "llama3:8b"
    assert FULL.current is not None
    assert text["current"]["generation"] == FULL.current.files.id
    assert sorted(text["current"]["files"]) == ["Q6_K/b.gguf", "a.gguf"]


def test_a_record_of_the_first_version_is_read() -> None:
    text = json.loads(records.encode(FULL)) | {"format": 1}
    del text["failure"]

    assert records.decode(json.dumps(text).encode()) == FULL


def test_what_a_process_was_started_with_is_read_back() -> None:
    assert records.decode(records.encode(SERVED)) == SERVED


def of_launch(**fields: object) -> bytes:
    text = json.loads(records.encode(SERVED))
    text["current"]["launch"] |= fields
    return json.dumps(text).encode()


@pytest.mark.parametrize(
    "data",
    [
        of_launch(command=[]),
        of_launch(command="llama-server"),
        of_launch(env=[["A"]]),
        of_launch(port="8080"),
        of_launch(adapters=[{"name": "sql"}]),
        of_launch(adapters=[{"name": "sql", "path": "a", "scale": 1, "files": 5}]),
    ],
)
def test_a_launch_that_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        records.decode(data)


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(records.encode(FULL)) | fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"[]",
        b'{"format": 1}',
        changed(format=3),
        changed(failure={"target_id": "x"}),
        changed(name="not a slot"),
        changed(name=7),
        changed(current="qwen"),
        changed(current={"model": "qwen", "generation": "0" * 64, "files": {}}),
        changed(current={"model": "qwen", "generation": "0" * 64, "files": {"a": "short"}}),
        changed(candidate_deadline="soon"),
        changed(candidate_deadline="2026-03-01T12:30:00"),
        changed(candidate_deadline=5),
    ],
)
def test_what_is_not_a_whole_record_of_this_format_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        records.decode(data)


def test_every_unreadable_record_is_named_with_its_reason(tmp_path: Path) -> None:
    slots = FileSlotRecords(tmp_path)
    slots.save(FULL)
    folder = tmp_path / "slots" / ".records"
    (folder / "newer.json").write_bytes(changed(format=3))
    (folder / "other.json").write_bytes(records.encode(FULL))
    (folder / "folder.json").mkdir()
    (folder / ".chat.json.tmp").write_text("half of a killed write")
    (folder / "notes.txt").write_text("mine")

    found, unreadable = slots.load()

    assert found == {"chat": FULL}
    assert [problem.split(": ")[0] for problem in unreadable] == [
        str(folder / name) for name in ("folder.json", "newer.json", "other.json")
    ]
    assert "wanted format 2, got 3" in unreadable[1]
    assert "'chat'" in unreadable[2]


def test_records_that_cannot_be_listed_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "slots").mkdir()
    (tmp_path / "slots" / ".records").write_text("not a folder")

    found, unreadable = FileSlotRecords(tmp_path).load()

    assert found == {}
    assert str(tmp_path / "slots" / ".records") in unreadable[0]


def test_reading_creates_nothing(tmp_path: Path) -> None:
    FileSlotRecords(tmp_path / "absent").load()
    assert list(tmp_path.iterdir()) == []
