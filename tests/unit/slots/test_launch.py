"""Launch records on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.digest import digest_of
from reconciler.core.errors import StalledError
from reconciler.core.process import ProcessState
from reconciler.slots.identity import Identity
from reconciler.slots.launch import LaunchFiles, LaunchRecord, decode, encode

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
INTENT = LaunchRecord("chat", "abc", digest_of(b"t"), 4711, "boot", AT, "/log", ProcessState.STARTING, AT)
FULL = replace(
    INTENT,
    state=ProcessState.EXITED,
    since=AT + timedelta(seconds=1),
    health="/health",
    adapters=("/a", "/b"),
    scales=(0.5, 1.0),
    identity=Identity(17, 99, "boot"),
    ending="it exited with status 1",
)


@pytest.mark.parametrize("record", [INTENT, FULL])
def test_a_record_is_read_as_it_was_written(record: LaunchRecord) -> None:
    assert decode(encode(record)) == record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "wanted format 1, got 2"),
        ({"state": "sleeping"}, "sleeping"),
        ({"started_at": "2026-01-05T12:00:00"}, "offset"),
        ({"target_id": "x"}, "SHA-256"),
        ({"process": {"pid": 1}}, "start_ticks"),
        ({"scales": None}, "not a launch record"),
    ],
)
def test_a_record_that_makes_no_sense_says_what_is_wrong(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(json.dumps({**json.loads(encode(FULL)), **change}).encode())


def test_records_are_listed_oldest_first_and_leftovers_of_killed_writes_are_none(tmp_path: Path) -> None:
    files = LaunchFiles(tmp_path / "launches")
    assert files.load() == ()
    later = replace(FULL, slot="alpha", launch_id="def", started_at=AT + timedelta(hours=1))
    for record in (later, FULL):
        files.save(record)
    (tmp_path / "launches" / "chat" / ".x.json.tmp").write_text("half")

    assert files.load() == (FULL, later)
    assert files.find("chat", "abc") == FULL
    assert files.find("chat", "nobody") is None


def test_removing_the_last_record_of_a_slot_leaves_no_folder(tmp_path: Path) -> None:
    files = LaunchFiles(tmp_path / "launches")
    files.save(FULL)
    files.save(replace(FULL, launch_id="def"))

    files.remove(FULL)
    assert [record.launch_id for record in files.load()] == ["def"]
    files.remove(replace(FULL, launch_id="def"))
    files.remove(FULL)

    assert list((tmp_path / "launches").iterdir()) == []


def test_sweeping_removes_what_killed_writes_left_and_nothing_else(tmp_path: Path) -> None:
    files = LaunchFiles(tmp_path)
    files.save(FULL)
    for name in (".abc.json.tmp", ".gone.json.tmp", "notes.txt"):
        (tmp_path / "chat" / name).write_text("x")

    files.sweep("chat")
    files.sweep("nobody")

    assert sorted(p.name for p in (tmp_path / "chat").iterdir()) == [".abc.json.tmp", "abc.json", "notes.txt"]


def test_an_unreadable_record_is_named_with_what_to_do(tmp_path: Path) -> None:
    files = LaunchFiles(tmp_path)
    files.save(FULL)
    (tmp_path / "chat" / "abc.json").write_text("{")

    with pytest.raises(StalledError) as caught:
        files.load()

    assert caught.value.reason == "LaunchUnreadable"
    assert str(tmp_path / "chat" / "abc.json") in caught.value.message
    assert caught.value.hint
