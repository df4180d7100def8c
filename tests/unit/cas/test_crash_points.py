"""Killed at any effect, the store keeps its invariants and a second run ends where an undisturbed one does.

The crash suite proves the same for the whole program; this one is small enough to run always.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconciler import durable
from reconciler.cas.files import FileBlobStore
from reconciler.cas.views import FileViews
from reconciler.core.digest import Digest, digest_of, generation_id, is_digest
from reconciler.core.entry import FileSet
from reconciler.core.slot import SlotRecord, SlotTarget
from reconciler.core.stored import PartMeta
from reconciler.slots.link import LinkDriver
from reconciler.slots.records import FileSlotRecords

FETCHED, COPIED, LINKED, OLD = b"fetched" * 50_000, b"copied" * 50_000, b"linked" * 100, b"old"
META = PartMeta((("https://example.com/a", '"1"'),), len(FETCHED))


def file_set(*pairs: tuple[str, Digest]) -> FileSet:
    return FileSet(generation_id(pairs), tuple(sorted(pairs)))


NEW = file_set(("a.gguf", digest_of(FETCHED)), ("sub/b.gguf", digest_of(COPIED)), ("sub/c.gguf", digest_of(LINKED)))
BEFORE = file_set(("a.gguf", digest_of(OLD)))


@dataclass
class Node:
    """One machine's folders, and the backends on them."""

    base: Path

    def __post_init__(self) -> None:
        self.state = self.base / "state"
        self.root = self.state / "store"
        self.store = FileBlobStore(self.root)
        self.views = FileViews(self.state, self.store)
        self.records = FileSlotRecords(self.state)
        self.driver = LinkDriver(self.state, self.store)


def unchecked(_: int) -> None:
    pass


def fetch(store: FileBlobStore, data: bytes) -> None:
    with store.open_part(digest_of(data)) as part:
        if not part.size_bytes:
            part.put_meta(META)
        for start in range(part.size_bytes, len(data), 200_000):
            part.write(data[start : start + 200_000])
        part.publish()


def show(node: Node, files: FileSet, record: bytes) -> None:
    node.store.write_generations((files,))
    node.views.write_records({"qwen": record})
    node.views.link("qwen", files.id)
    node.views.sync()
    old = node.records.load()[0].get("chat", SlotRecord("chat"))
    target = SlotTarget("qwen", files)
    node.records.save(SlotRecord("chat", old.current, target, old.last_good))
    node.driver.switch("chat", files.id)
    node.records.save(old.promoted(target))


def prepare(node: Node) -> None:
    """A model is served, and two files wait to be adopted."""
    (node.base / "copied").write_bytes(COPIED)
    (node.base / "linked").write_bytes(LINKED)
    node.store.initialise("store-1")
    fetch(node.store, OLD)
    show(node, BEFORE, b'{"old": true}')


def converge(node: Node) -> None:
    """Everything that changes the disk: blobs come, the model changes, the old one goes."""
    node.store.initialise("store-1")
    present = node.store.scan().blobs
    if digest_of(FETCHED) not in present:
        fetch(node.store, FETCHED)
    for data, name, hardlink in ((COPIED, "copied", False), (LINKED, "linked", True)):
        if digest_of(data) not in present:
            node.store.adopt_file(digest_of(data), str(node.base / name), hardlink=hardlink, check=unchecked)
    node.store.sync_names()
    if node.driver.serving().get("chat") != NEW.id or node.records.load()[0]["chat"].candidate:
        show(node, NEW, b'{"new": true}')
    node.store.remove_generation(BEFORE)
    node.store.quarantine(digest_of(OLD))
    node.store.reclaim(digest_of(OLD))
    for digest in node.store.scan().parts:
        node.store.remove_part(digest)


def assert_invariants(node: Node) -> None:
    for path in (*(node.root / "by-hash").iterdir(), *(node.root / "quarantine").iterdir()):
        assert digest_of(path.read_bytes()) == path.name, "a blob under its final name is complete"
    for link in (node.state / "views" / "qwen", node.state / "slots" / "chat"):
        assert (link / "a.gguf").read_bytes() in (OLD, FETCHED), "a link is always there and what it shows can be read"
    assert node.records.load()[1] == ()
    assert (node.state / "models" / "qwen.json").read_bytes() in (b'{"old": true}', b'{"new": true}')
    assert (node.base / "copied").read_bytes() == COPIED
    assert (node.base / "linked").read_bytes() == LINKED


def assert_converged(node: Node) -> None:
    scan = node.store.scan()
    assert set(scan.blobs) == {digest_of(FETCHED), digest_of(COPIED), digest_of(LINKED)}
    assert not scan.parts
    assert not scan.quarantined
    assert not scan.unreadable
    assert scan.generations == {NEW.id}
    assert node.store.generation_intact(NEW)
    assert node.views.links() == {"qwen": NEW.id}
    assert node.driver.serving() == {"chat": NEW.id}
    assert node.records.load()[0]["chat"].candidate is None
    leftovers = [p for p in node.state.rglob("*") if p.name.startswith(".") and p.name != ".records"]
    assert leftovers == []
    assert all(is_digest(p.name) for p in (node.root / "by-hash").iterdir())


def killed_before(count: int, work: Callable[[], None]) -> bool:
    """Run `work` in a child that dies before its effect number `count`; whether it got that far."""
    child = os.fork()
    if child == 0:
        effects = iter(range(count))

        def die_in_time(label: str) -> None:
            # After one effect is before the next: the disk is the same.
            if label.startswith("before") and next(effects, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        durable.on_effect = die_in_time
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def kill_everywhere(base: Path) -> int:
    """How many effects there are; at each the invariants held and a second run converged."""
    for count in itertools.count():
        node = Node(base / str(count))
        node.base.mkdir()
        prepare(node)
        killed = killed_before(count, functools.partial(converge, Node(node.base)))
        assert_invariants(node)
        converge(Node(node.base))
        assert_converged(node)
        if not killed:
            return count
    raise AssertionError


def test_a_kill_at_any_effect_is_survived(tmp_path: Path) -> None:
    # In a process of its own: forking one that other tests have left threads in is not safe.
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60


if __name__ == "__main__":
    print(kill_everywhere(Path(sys.argv[1])))
