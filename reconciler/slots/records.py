"""Slot records on disk: what a slot points at, pointed at before and is about to point at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from reconciler import durable
from reconciler.core.digest import Digest
from reconciler.core.errors import TransientError
from reconciler.core.names import slot_name_problem
from reconciler.core.slot import LaunchFailure, SlotRecord
from reconciler.slots.target_text import decode_target, encode_target

FORMAT = 2
WITHOUT_PROCESSES = 1
"""The format of the first version, whose slots were files only."""
_SUFFIX = ".json"


class FileSlotRecords:
    """`ports.SlotRecords` in `slots/.records/<name>.json`. Only the pass writes."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir.absolute() / "slots" / ".records"

    def load(self) -> tuple[Mapping[str, SlotRecord], tuple[str, ...]]:
        """All records by slot name, and what could not be read, each with the reason."""
        records: dict[str, SlotRecord] = {}
        unreadable: list[str] = []
        for path in self._paths(unreadable):
            try:
                record = _read(path)
            except (TransientError, ValueError) as error:
                unreadable.append(f"{path}: {error}")
            else:
                if record is not None:
                    records[record.name] = record
        return records, tuple(unreadable)

    def save(self, record: SlotRecord) -> None:
        """The record is durable."""
        durable.make_folder(self._folder)
        durable.write_atomic(self._path(record.name), encode(record))

    def remove(self, name: str) -> None:
        """There is no such record, durably."""
        if durable.unlink(self._path(name)):
            durable.sync_folder(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"

    def _paths(self, unreadable: list[str]) -> list[Path]:
        """The records, sorted; leftovers of killed writes begin with a dot and are no records."""
        try:
            found = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            unreadable.append(f"{self._folder}: {error.strerror}")
            return []
        return [path for path in found if path.name.endswith(_SUFFIX) and not path.name.startswith(".")]


def _read(path: Path) -> SlotRecord | None:
    """The record in the file; None if it was removed since the folder was listed."""
    data = durable.read_file(path)
    if data is None:
        return None
    record = decode(data)
    if record.name != path.name.removesuffix(_SUFFIX):
        raise ValueError(f"it is the record of {record.name!r}")
    return record


def encode(record: SlotRecord) -> bytes:
    """The record's text, in the newest format."""
    value = {
        "format": FORMAT,
        "name": record.name,
        "current": encode_target(record.current),
        "candidate": encode_target(record.candidate),
        "last_good": encode_target(record.last_good),
        "candidate_deadline": _text(record.candidate_deadline),
        "failure": _encode_failure(record.failure),
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def decode(data: bytes) -> SlotRecord:
    """The record that `data` is the text of, in any format so far; raises ValueError with what is wrong."""
    try:
        found = json.loads(data)
        if found["format"] not in (WITHOUT_PROCESSES, FORMAT):
            raise ValueError(f"wanted format {FORMAT}, got {found['format']!r}")
        record = SlotRecord(
            name=found["name"],
            current=decode_target(found["current"]),
            candidate=decode_target(found["candidate"]),
            last_good=decode_target(found["last_good"]),
            candidate_deadline=_instant(found["candidate_deadline"]),
            failure=None if found["format"] == WITHOUT_PROCESSES else _decode_failure(found["failure"]),
        )
        if slot_name_problem(record.name):
            raise ValueError(f"no slot can be named {record.name!r}")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a slot record: {error!r}") from error
    return record


def _encode_failure(failure: LaunchFailure | None) -> object:
    if failure is None:
        return None
    return {
        "target_id": failure.target_id,
        "reason": failure.reason,
        "message": failure.message,
        "attempts": failure.attempts,
        "at": _text(failure.at),
        "next_attempt_at": _text(failure.next_attempt_at),
    }


def _decode_failure(value: object) -> LaunchFailure | None:
    match value:
        case None:
            return None
        case {
            "target_id": str(target_id),
            "reason": str(reason),
            "message": str(message),
            "attempts": int(attempts),
            "at": str(at),
            "next_attempt_at": None | str() as next_attempt_at,
        }:
            next_at = _instant(next_attempt_at)
            return LaunchFailure(Digest.parse(target_id), reason, message, attempts, _required(at), next_at)
        case _:
            raise ValueError(f"wanted a failure, got {value!r}")


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else _required(text)


def _required(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"wanted an instant with its offset from UTC, got {text}")
    return at
