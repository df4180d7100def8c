"""Kills and failures at system calls of every thread: also those that no hook of ours announces, such as SQLite's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.world import FOREIGN, GONE, NEW, OLD, RENAMED, Driver, World, argv, registry, sha, violations
from tests.e2e.machine import Machine, Ran
from tests.fakes.origin import OriginSimulator
from tests.require import STRICT, require

pytestmark = pytest.mark.crash

POINTS = 6 if os.environ.get(STRICT) == "1" else 2
# How many occurrences of each call a kill is tried at: every one costs two runs of the program.

STRACE = ("strace", "-f", "-qqq")  # --seccomp-bpf is faster, but 6.1 injects nothing into some calls then
CALLS = {
    "rename": ("rename", "renameat", "renameat2"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
    "symlink": ("symlink", "symlinkat"),
    "fsync": ("fsync",),
    "fdatasync": ("fdatasync",),
    "pwrite64": ("pwrite64",),
    "write": ("write",),
}
"""What one call is named on the platforms we run on."""
_TRACED = re.compile(r"(\d+) +(\w+)\(").match


@dataclass
class Stage:
    """A machine that is about to converge to other manifests: it fetches, renames, switches a slot and prunes."""

    world: World
    template: Path
    driver: Driver
    counts: Counter[str] = field(default_factory=Counter)
    """How often the busiest thread makes each call on the way."""

    def fresh(self) -> Path:
        """A state directory in which nothing has begun."""
        self.world.origin.requests.clear()
        return self.world.fresh_state(self.template)

    def disturbed(self, state: Path, *options: str) -> Ran:
        """A converge under strace is over."""
        machine = Machine(self.world.base / "machine")
        machine.state = state
        manifests = self.world.manifests(state, self.world.after)
        return machine.run(manifests, "-o", "json", under=(*STRACE, "-o", os.devnull, *options))

    def converge(self, state: Path) -> None:
        """A converge that nothing disturbs has ended well."""
        ran = self.driver.run(argv(state, self.world.manifests(state, self.world.after)))
        assert ran.status == 0, ran
        assert_converged(state)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    require(shutil.which("strace"), "strace is not installed")
    tried = subprocess.run([*STRACE, "true"], capture_output=True, text=True, check=False)
    require(tried.returncode == 0, f"strace can't trace here: {tried.stderr}")
    with OriginSimulator() as origin:
        world = World(tmp_path_factory.mktemp("strace"), origin)
        machine = Machine(world.base / "machine")
        machine.state = state = world.base / "run"
        assert machine.run(world.manifests(state, world.before), "-o", "json").exit_code == 0
        for name, data in FOREIGN.items():
            (state / "store" / name).write_bytes(data)
        built = Stage(world, state.rename(world.base / "template"), Driver())
        built.counts = _count(built, world.base / "trace")
        yield built
        built.driver.close()


def _count(stage: Stage, trace: Path) -> Counter[str]:
    names = {name: call for call, others in CALLS.items() for name in others}
    # A platform lacks the older of some pairs: "?" lets strace pass over them.
    state = stage.fresh()
    ran = stage.disturbed(state, "-e", "trace=" + ",".join(f"?{name}" for name in names), "-o", str(trace))
    assert ran.exit_code == 0, ran
    assert_converged(state)
    by_thread: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text().splitlines():
        if (found := _TRACED(line)) is not None:
            by_thread[found[1], names[found[2]]] += 1
    counts: Counter[str] = Counter()
    for (_, call), count in by_thread.items():
        counts[call] = max(counts[call], count)
    return counts


def assert_converged(state: Path) -> None:
    assert violations(state) == []
    with registry(state) as opened:
        snapshot = opened.snapshot()
    assert set(snapshot.entries) == {"models/old", "models/new", "models/second-name"}
    assert set(snapshot.blobs) == {sha(data) for data in (OLD, NEW, RENAMED)}
    assert snapshot.jobs == {}
    assert (state / "slots" / "chat").resolve() == (state / "views" / "new").resolve()
    assert not (state / "store" / "by-hash" / sha(GONE)).exists()


def spread(count: int) -> list[int]:
    """Up to POINTS numbers from 1 to `count`, evenly apart and with both ends."""
    return sorted({1 + round(step * (count - 1) / (POINTS - 1)) for step in range(POINTS)})


@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_a_system_call_loses_nothing(stage: Stage, call: str) -> None:
    assert stage.counts[call] > 0
    names = ",".join(f"?{name}" for name in CALLS[call])
    for number in spread(stage.counts[call]):
        state = stage.fresh()
        killed = stage.disturbed(state, "-e", f"trace={names}", "-e", f"inject={names}:signal=SIGKILL:when={number}")
        # Threads take turns: now and then a run makes one call less than the one that was counted.
        assert killed.exit_code == -9 or number > 1, killed
        assert violations(state) == [], number
        published = (state / "store" / "by-hash" / sha(NEW)).exists()
        asked = len(stage.world.origin.gets)
        stage.converge(state)
        if published:
            assert len(stage.world.origin.gets) == asked, f"a published blob was requested again ({number})"


FAILURES = [
    ("store/tmp/{new}.part", "fsync", "EIO", "Input/output error"),
    ("store/tmp/{new}.part", "write", "ENOSPC", "No space left on device"),
    ("store/tmp/{new}.part", "write", "EIO", "Input/output error"),
    ("views", "fsync", "EIO", "Input/output error"),
    ("store/by-hash", "fsync", "EIO", "Input/output error"),
    (".last-good.json.tmp", "write", "ENOSPC", "No space left on device"),
    ("registry.db-wal", "pwrite64", "ENOSPC", "no space left"),
    ("registry.db-wal", "fdatasync", "EIO", "disk I/O error"),
]


@pytest.mark.parametrize(("where", "call", "error", "said"), FAILURES, ids=["-".join(row[:3]) for row in FAILURES])
def test_a_failing_disk_is_told_clearly_and_the_next_run_converges(
    stage: Stage, where: str, call: str, error: str, said: str
) -> None:
    state = stage.fresh()
    path = state / where.format(new=sha(NEW))
    failed = stage.disturbed(
        state, "-P", str(path), "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when=1+"
    )
    assert failed.exit_code == 1, failed
    assert said in failed.out
    assert "Traceback" not in failed.err
    assert violations(state) == []
    if ".part" in where:
        assert not (state / "store" / "by-hash" / sha(NEW)).exists()
    stage.converge(state)
