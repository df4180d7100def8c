"""Slot records on disk: what a slot points at, pointed at before and is about to point at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from reconciler import durable
from reconciler.core.digest import Digest, generation_id
from reconciler.core.entry import FileSet
from reconciler.core.errors import TransientError
from reconciler.core.names import slot_name_problem
from reconciler.core.slot import SlotRecord, SlotTarget

FORMAT = 1
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
    """The record's text, format 1."""
    value = {
        "format": FORMAT,
        "name": record.name,
        "current": _encode_target(record.current),
        "candidate": _encode_target(record.candidate),
        "last_good": _encode_target(record.last_good),
        "candidate_deadline": record.candidate_deadline and record.candidate_deadline.isoformat(),
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def decode(data: bytes) -> SlotRecord:
    """The record that `data` is the text of; raises ValueError with what is wrong."""
    try:
        found = json.loads(data)
        if found["format"] != FORMAT:
            raise ValueError(f"wanted format {FORMAT}, got {found['format']!r}")
        deadline = found["candidate_deadline"]
        record = SlotRecord(
            name=found["name"],
            current=_decode_target(found["current"]),
            candidate=_decode_target(found["candidate"]),
            last_good=_decode_target(found["last_good"]),
            candidate_deadline=None if deadline is None else _instant(deadline),
        )
        if slot_name_problem(record.name):
            raise ValueError(f"no slot can be named {record.name!r}")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a slot record: {error!r}") from error
    return record


def _encode_target(target: SlotTarget | None) -> object:
    if target is None:
        return None
    return {"model": target.model, "generation": target.files.id, "files": dict(target.files.files)}


def _decode_target(value: object) -> SlotTarget | None:
    if value is None:
        return None
    match value:
        case {"model": str(model), "generation": str(generation), "files": dict(files)}:
            pairs = tuple(sorted((str(path), Digest(digest)) for path, digest in files.items()))
            if generation_id(pairs) != generation:
                raise ValueError(f"the files of {model!r} are not those of generation {generation}")
            return SlotTarget(model, FileSet(Digest(generation), pairs))
        case _:
            raise ValueError(f"wanted a target, got {value!r}")


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"wanted an instant with its offset from UTC, got {text}")
    return at
