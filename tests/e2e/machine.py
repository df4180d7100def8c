"""One machine as its owner sees it: a state directory, a folder of manifests, and the real command line.

    machine = Machine(tmp_path)
    machine.declare(models={"m": weights(origin.put("/m", DATA), DATA)}, egress=LOOPBACK)
    assert machine.converge().exit_code == 0

Manifests are written as JSON, which is YAML; a test that is about their text uses `write`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.cli.main import main
from reconciler.cli.terminal import Terminal
from tests.fakes.origin import Content, Pattern
from tests.patience import PATIENCE_S, until

LOOPBACK = {"allow_http": True, "allow_private": True}
AT_ONCE = {"ttl": "0s", "quarantine": "7d", "max_delete": {"share": "100%"}}
"""Pruning without waiting, and without a fuse for the share."""

_OWN_VARIABLES = ("RECONCILER_", "XDG_", "HF_", "COV_", "PYTHONDONTWRITEBYTECODE")
# The last one makes every process compile the whole program again, which doubles what a command costs.
_VOLATILE = ("lock", "registry.db-wal", "registry.db-shm")


def sha256(content: Content) -> str:
    """The digest of what an origin serves."""
    match content:
        case bytes():
            return hashlib.sha256(content).hexdigest()
        case Path():
            with content.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        case Pattern():
            return content.sha256


def weights(source: str | Iterable[str], content: Content, **fields: object) -> dict[str, object]:
    """The declaration of a model that is one file, from one source or from mirrors."""
    where = {"source": source} if isinstance(source, str) else {"sources": list(source)}
    return {**where, "sha256": sha256(content), **fields}


def until_in(process: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """The condition holds; fails when it does not come true, or when `process` ends before it does."""

    def holds() -> object:
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"the process ended early with {process.returncode}:\n{out}\n{err}")
        return condition()

    until(holds)


@dataclass(frozen=True)
class Ran:
    """How one command ended and what it printed."""

    exit_code: int
    """Negative: the signal that killed it."""
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed with `-o json`."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def ops(self) -> list[str]:
        """The operations of the plan, in order."""
        return [action["op"] for action in self.document["actions"]]

    @property
    def confirm(self) -> str | None:
        """The digest that releases a blocked deletion."""
        found: str | None = self.document["confirm_prune"]
        return found

    @property
    def reasons(self) -> list[str]:
        """The reasons of the errors."""
        return [error["reason"] for error in self.document["errors"]]

    def results(self, op: str) -> list[tuple[str, str | None]]:
        """(status, code) of every action with that operation, in plan order."""
        ids = [action["id"] for action in self.document["actions"] if action["op"] == op]
        found = {result["id"]: (result["status"], result["code"]) for result in self.document["result"]}
        return [found[id_] for id_ in ids]

    def condition(self, obj: str, type_: str = "Ready") -> dict[str, Any] | None:
        """That condition of the object, if it has one."""
        rows = self.document["conditions"]
        return next((row for row in rows if (row["object"], row["type"]) == (obj, type_)), None)


class Machine:
    """Commands run in `base`, in an environment that has nothing of this machine's settings."""

    def __init__(self, base: Path, **variables: str) -> None:
        self.base = base
        self.state = base / "state"
        self.store = self.state / "store"
        self.manifests = base / "manifests"
        self.manifests.mkdir(parents=True, exist_ok=True)
        self.variables = variables

    # ---- manifests ------------------------------------------------------------------------------

    def write(self, text: str, name: str = "models.yaml") -> Path:
        """The manifest file `name` holds exactly `text`."""
        path = self.manifests / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def declare(self, name: str = "models.yaml", /, **sections: object) -> Path:
        """The manifest file `name` holds these sections."""
        return self.write(json.dumps({"apiVersion": "reconciler/v1", **sections}, indent=1), name)

    # ---- commands -------------------------------------------------------------------------------

    def argv(self, *words: str | Path) -> list[str]:
        """The command line that runs `reconcile` with `words` on this machine's state directory."""
        has_state = words[:1] not in (("validate",), ("schema",))
        where = ["--state-dir", str(self.state)] if has_state else []
        return [sys.executable, "-m", "reconciler", *map(str, words), *where]

    @property
    def environment(self) -> Mapping[str, str]:
        """What the commands see."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        root = str(Path(__file__).parents[2])
        return {
            **kept,
            "HOME": str(self.base / "home"),
            "PYTHONPATH": root,
            "PYTHONWARNINGS": "error",
            **self.variables,
        }

    def run(self, *words: str | Path, under: Iterable[str] = ()) -> Ran:
        """The command has ended; `under` is what it is run by, such as strace."""
        process = self.start(*words, under=under)
        out, err = process.communicate(timeout=2 * PATIENCE_S)
        return Ran(process.returncode, out, err)

    def start(self, *words: str | Path, under: Iterable[str] = ()) -> subprocess.Popen[str]:
        """The command runs, in a process group of its own."""
        return subprocess.Popen(
            [*under, *self.argv(*words)],
            cwd=self.base,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def converge(self, *options: str | Path, under: Iterable[str] = ()) -> Ran:
        """The folder of manifests was converged, with `-o json`."""
        return self.run(self.manifests, "-o", "json", *options, under=under)

    def preview(self, *options: str | Path) -> Ran:
        """The plan for the folder of manifests, with `-o json`."""
        return self.converge("--dry-run", *options)

    def listed(self, what: str) -> list[dict[str, Any]]:
        """What `reconcile get` lists."""
        return self._items("get", what)

    def events(self) -> list[dict[str, Any]]:
        """What `reconcile events` lists."""
        return self._items("events")

    def _items(self, *words: str) -> list[dict[str, Any]]:
        """What a command lists."""
        found: list[dict[str, Any]] = self.said(*words, "--limit", "1000")["items"]
        return found

    def said(self, *words: str) -> dict[str, Any]:
        """What a command that succeeded says."""
        ran = self.here(*words)
        assert ran.exit_code == 0, ran.out
        return ran.document

    def here(self, *words: str) -> Ran:
        """The command was carried out in this process, which is started already, with `-o json`."""
        out, err = io.StringIO(), io.StringIO()
        code = main([*words, "-o", "json", "--state-dir", str(self.state)], terminal=Terminal(out, err))
        return Ran(code, out.getvalue(), err.getvalue())

    # ---- what is on disk ------------------------------------------------------------------------

    def blob(self, content: Content, place: str = "by-hash") -> Path:
        """Where the content's blob lies if it lies in `place`."""
        return self.store / place / sha256(content)

    def part(self, content: Content) -> Path:
        """Where the content's partial download lies."""
        return self.store / "tmp" / f"{sha256(content)}.part"

    def has_part(self, content: Content, more_than: int = 0) -> bool:
        """Whether the partial download has grown beyond so many bytes."""
        part = self.part(content)
        return part.exists() and part.stat().st_size > more_than

    def view(self, model: str) -> Path:
        """The folder in which a model's files have their names."""
        return self.state / "views" / model

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """Name, type, size, mtime and content of everything there, but for what every run may touch."""
        found: dict[str, tuple[object, ...]] = {}
        for folder in {self.state, self.store}:
            for path in sorted(folder.rglob("*")):
                if path.parent == self.state and path.name in _VOLATILE:
                    continue
                stat = path.lstat()
                found[str(path)] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, _content(path))
        return found

    def holdings(self) -> set[str]:
        """The names of blobs, quarantined blobs, views, model records and slots."""
        folders = [self.store / "by-hash", self.store / "quarantine"]
        folders += [self.state / name for name in ("views", "models", "slots")]
        names = {f"{folder.name}/{path.name}" for folder in folders for path in folder.glob("*")}
        return names - {"slots/.records"}

    def files(self) -> dict[str, bytes]:
        """Everything that is readable under the machine's folder, state and store: to search for secrets."""
        folders = {self.state, self.store}
        paths = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {str(path): path.read_bytes() for path in paths}


def killed(process: subprocess.Popen[str], signum: signal.Signals = signal.SIGKILL) -> Ran:
    """The process got the signal and has ended."""
    process.send_signal(signum)
    out, err = process.communicate(timeout=PATIENCE_S)
    return Ran(process.returncode, out, err)


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    ran: Ran
    cpu_s: float
    peak_bytes: int


_MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024], file)
"""


def measured(machine: Machine, *words: str | Path) -> Cost:
    """The command has ended, and what it took.

    It is started by a small process: Linux counts the peak of whoever calls exec as the child's.
    """
    told = machine.base / "cost.json"
    ran = machine.run(*words, under=(sys.executable, "-c", _MEASURE, str(told)))
    exit_code, cpu_s, peak_bytes = json.loads(told.read_text())
    return Cost(Ran(exit_code, ran.out, ran.err), cpu_s, peak_bytes)


def confirm_command(ran: Ran) -> list[str]:
    """The words of the command that the tree output told to run, without the program's name."""
    line = next(line for line in (ran.out + ran.err).splitlines() if "--confirm-prune" in line)
    words = shlex.split(line)
    return words[words.index("reconcile") + 1 :]


def _content(path: Path) -> object:
    if path.is_symlink():
        return os.readlink(path)
    return sha256(path) if path.is_file() else None
