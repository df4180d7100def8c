"""A machine that converges from one manifest to another, and what must be true of it at any moment."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.core.digest import is_digest
from reconciler.core.observed import Place
from reconciler.registry.sqlite import SqliteRegistry
from reconciler.slots.records import FileSlotRecords
from tests.fakes.origin import OriginSimulator

ROOT = Path(__file__).parents[2]
OLD, NEW, GONE, RENAMED = (bytes([n]) * size for n, size in ((1, 70_000), (2, 300_000), (3, 50_000), (4, 9_000)))
FOREIGN = {"by-hash/" + "ab" * 32: b"mine", "by-hash/notes.txt": b"mine too", "quarantine/README": b"and mine"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Ran:
    """How one run ended."""

    status: int
    effects: int
    output: str


class Driver:
    """The forking driver, started once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.driver"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, argv: list[str], kill_at: int | None = None) -> Ran:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"argv": argv, "kill_at": kill_at}) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return Ran(found["status"], found["effects"], found["output"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


class World:
    """State, manifests before and after, an origin, and files that are none of ours."""

    def __init__(self, base: Path, origin: OriginSimulator) -> None:
        self.base = base
        self.origin = origin
        self.before, self.after = base / "before", base / "after"
        origin.put("/old", OLD)
        origin.put("/new", NEW)
        origin.put("/gone", GONE)
        origin.put("/renamed", RENAMED)
        models = {"old": OLD, "gone": GONE, "first-name": RENAMED}
        urls = {"old": "/old", "gone": "/gone", "first-name": "/renamed"}
        self._write(self.before, models, urls, slot="old")
        models = {"old": OLD, "new": NEW, "second-name": RENAMED}
        urls = {"old": "/old", "new": "/new", "second-name": "/renamed"}
        self._write(self.after, models, urls, slot="new")

    def _write(self, folder: Path, models: dict[str, bytes], urls: dict[str, str], slot: str) -> None:
        folder.mkdir()
        lines = ["apiVersion: reconciler/v1", "models:"]
        for name, data in models.items():
            lines.append(
                f"  {name}: {{source: '{self.origin.url(urls[name])}', sha256: {sha(data)}, bytes: {len(data)}}}"
            )
        lines += [f"slots: {{chat: {{model: {slot}}}}}", "egress: {allow_http: true, allow_private: true}"]
        lines += ["pruning: {ttl: 0s, quarantine: 0s, max_delete: {share: 100%}}"]
        (folder / "models.yaml").write_text("\n".join(lines) + "\n")

    def manifests(self, state: Path, which: Path) -> Path:
        """A folder that holds `which` now: the same path for both, or the fuse would trip on other PATHS."""
        folder = state.parent / f"{state.name}-manifests"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(which, folder)
        return folder

    def fresh_state(self, template: Path) -> Path:
        """A copy of the template under the path it was made at."""
        state = self.base / "run"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(template, state, symlinks=True)
        return state


def argv(state: Path, manifests: Path) -> list[str]:
    return [str(manifests), "--state-dir", str(state), "-o", "json"]


@contextmanager
def registry(state: Path) -> Iterator[SqliteRegistry]:
    opened = SqliteRegistry(state / "registry.db", SystemClock())
    try:
        yield opened
    finally:
        opened.close()


def violations(state: Path, foreign: Mapping[str, bytes] = FOREIGN, store: Path | None = None) -> list[str]:
    """What of docs/design/store.md does not hold right now in the state directory and its store."""
    store_dir = store or state / "store"
    found: list[str] = []
    for blob in (store_dir / "by-hash").iterdir():
        is_ours = is_digest(blob.name) and f"by-hash/{blob.name}" not in foreign
        found += (
            [f"1: {blob.name} is not what its name says"] if is_ours and sha(blob.read_bytes()) != blob.name else []
        )
    with registry(state) as opened:
        snapshot = opened.snapshot()
    for ref, entry in snapshot.entries.items():
        found += [f"2: {ref} names {d}, which is not there" for d in _absent(entry.spec.digests, store_dir)]
    records, unreadable = FileSlotRecords(state).load()
    found += [f"6: {what}" for what in unreadable]
    for name, record in records.items():
        if record.current is not None and f"models/{record.current.model}" not in snapshot.entries:
            found.append(f"3: slot {name} names {record.current.model}, which is not registered")
        for target in record.targets():
            absent = _absent(target.files.digests, store_dir)
            found += [f"6: slot {name} has the root {d}, which is not there" for d in absent]
    for link in [*(state / "views").glob("*"), *(p for p in (state / "slots").glob("*") if p.is_symlink())]:
        if link.is_symlink() and not all(p.exists() for p in link.resolve().iterdir()):
            found.append(f"4: {link.name} shows a file that is not there")
    for place in (Place.BY_HASH, Place.QUARANTINE):
        for blob in (store_dir / place).iterdir():
            if is_digest(blob.name) and f"{place}/{blob.name}" not in foreign and blob.name not in snapshot.blobs:
                found.append(f"2: {place}/{blob.name} lies there without an owner")
    found += [f"foreign {name}" for name, data in foreign.items() if (store_dir / name).read_bytes() != data]
    return found


def _absent(digests: Iterable[str], store_dir: Path) -> list[str]:
    return [digest for digest in sorted(digests) if not (store_dir / "by-hash" / digest).is_file()]
