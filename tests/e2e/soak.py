"""A node under random operations and faults, and what must be true of it when they are over.

One seed decides every operation; what the machine makes of them depends on its timing as well, so a
seed repeats the storm rather than the very failure. `Soak.said` tells what happened.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from tests.crash.world import violations
from tests.e2e.machine import AT_ONCE, LOOPBACK, Machine, sha256
from tests.e2e.serving import Serving
from tests.e2e.soak_faults import any_fault
from tests.fakes.origin import Content, Fault, OriginSimulator, Pattern
from tests.patience import until

MIB = 2**20
FEWEST, MOST = 12, 24
"""Models that are declared at any time."""
SMALL = tuple(Pattern(size, seed=n) for n, size in enumerate(range(10_000, 4 * MIB, 97_531)))
LARGE = tuple(Pattern(33 * MIB + n, seed=n) for n in (101, 102, 103))
"""Long enough for two segments."""
CONTENTS = SMALL + LARGE
SECTIONS = {
    "egress": LOOPBACK,
    "pruning": {**AT_ONCE, "quarantine": "0s"},
    "budgets": {"reserve": "8MiB"},
}
CONVERGE_S = 180.0


@dataclass(frozen=True)
class Declared:
    """A model of the manifest."""

    content: int
    """Its place in CONTENTS."""
    origins: tuple[int, ...]
    """The places of its sources, in order."""
    is_sized: bool
    priority: int


@dataclass
class Soak:
    """The driver; every operation of it is one step of the storm."""

    machine: Machine
    origins: tuple[OriginSimulator, ...]
    seed: int
    models: dict[str, Declared] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """What was done, in order."""

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._names = 0
        self._began_s = time.monotonic()
        self._concurrency: dict[str, object] = {"max": 3}
        self._segments = 1
        self.heal()
        for _ in range(MOST - 4):
            self._add()
        self._declare()
        self.service = Serving(self.machine)

    # ---- the storm ------------------------------------------------------------------------------

    def rage(self, for_s: float, *, kills: bool) -> None:
        """For so long one operation follows the other; with `kills`, also ends of the process."""
        end_s = time.monotonic() + for_s
        operations = [*self._operations(), *([(4, self.kill), (2, self.restart)] if kills else [])]
        weights = [weight for weight, _ in operations]
        while time.monotonic() < end_s:
            [(_, operation)] = self._rng.choices(operations, weights)
            operation()
            assert self.service.process.poll() is None, self.service.log
            time.sleep(self._rng.choice((0.0, 0.02, 0.1, 0.5)))

    def _operations(self) -> list[tuple[int, Callable[[], None]]]:
        return [
            (20, self.fail),
            (10, self._recover_one),
            (8, self.add),
            (8, self.remove),
            (6, self.rename),
            (4, self.change),
            (6, lambda: self.steer("pause")),
            (9, lambda: self.steer("resume")),
            (6, lambda: self.steer("cancel")),
            (1, lambda: self.steer("suspend")),
            (1, lambda: self._command("suspend")),
            (4, lambda: self._command("resume")),
            (8, self.limit),
            (2, self.service_hang_up),
        ]

    def _tell(self, what: str) -> None:
        self.said.append(f"{time.monotonic() - self._began_s:7.2f} {what}")

    # ---- manifests ------------------------------------------------------------------------------

    def add(self) -> None:
        """One more model, maybe of bytes that another one has."""
        if len(self.models) < MOST:
            self._add()
            self._declare()

    def _add(self) -> None:
        self._names += 1
        name = f"m{self._names}"
        declared = Declared(
            self._rng.randrange(len(CONTENTS)),
            tuple(self._rng.sample(range(3), k=self._rng.choice((1, 1, 2, 3)))),
            self._rng.random() < 0.5,
            self._rng.choice((0, 0, 0, 1, -1)),
        )
        self.models[name] = declared
        self._tell(f"add {name} {declared}")

    def remove(self) -> None:
        """A model is wanted no more."""
        if len(self.models) > FEWEST:
            name = self._any_model()
            del self.models[name]
            self._tell(f"remove {name}")
            self._declare()

    def rename(self) -> None:
        """A model has another name."""
        old = self._any_model()
        self._names += 1
        new = f"m{self._names}"
        self.models[new] = self.models.pop(old)
        self._tell(f"rename {old} to {new}")
        self._declare()

    def change(self) -> None:
        """A model is to have other bytes."""
        name = self._any_model()
        self.models[name] = replace(self.models[name], content=self._rng.randrange(len(CONTENTS)))
        self._tell(f"change {name} {self.models[name]}")
        self._declare()

    def fetch_one(self) -> None:
        """A model is to have bytes that are not there, so that the process downloads something."""
        used = {declared.content for declared in self.models.values()}
        name = self._any_model()
        absent = self._rng.choice(sorted(set(range(len(CONTENTS))) - used))
        self.models[name] = replace(self.models[name], content=absent)
        self._tell(f"fetch {name} {self.models[name]}")
        self._declare()

    def limit(self) -> None:
        """Other limits hold."""
        most = self._rng.randint(1, 6)
        self._concurrency = {"max": most, "per_host": self._rng.randint(1, 4)}
        if self._rng.random() < 0.2:
            self._concurrency["bandwidth"] = "4MiB"
        self._segments = self._rng.choice((1, 1, 1, 3)) if self._rng.random() < 0.3 else self._segments
        self._tell(f"limit {self._concurrency}, {self._segments} segments")
        self._declare()

    def _declare(self) -> None:
        """The manifest is replaced at once, as editors and git do it."""
        document = {
            "apiVersion": "reconciler/v1",
            "models": {name: self._weights(declared) for name, declared in self.models.items()},
            "concurrency": self._concurrency,
            "defaults": {"retries": 1, "idle_timeout": "2s", "segments": self._segments},
            **SECTIONS,
        }
        draft = self.machine.base / "draft"
        draft.write_text(json.dumps(document, indent=1))
        draft.replace(self.machine.manifests / "models.yaml")

    def _weights(self, declared: Declared) -> dict[str, object]:
        content = CONTENTS[declared.content]
        found: dict[str, object] = {
            "sources": [self.origins[n].url(f"/{declared.content}") for n in declared.origins],
            "sha256": sha256(content),
            "priority": declared.priority,
        }
        return {**found, "bytes": content.size_bytes} if declared.is_sized else found

    def _any_model(self) -> str:
        return self._rng.choice(sorted(self.models))

    # ---- operators ------------------------------------------------------------------------------

    def steer(self, deed: str) -> None:
        """A model or a digest is told to rest or to go on."""
        name = self._any_model()
        digest = sha256(CONTENTS[self.models[name].content])
        self._command(deed, digest if self._rng.random() < 0.3 and deed != "suspend" else f"models/{name}")

    def _command(self, *words: str) -> None:
        ran = self.machine.here(*words)
        self._tell(f"{' '.join(words)}: {ran.exit_code} {ran.document.get('message', '')[:60]}")
        assert ran.exit_code in (0, 1), ran
        if ran.exit_code:  # the service has not heard of the object yet
            assert ran.reasons == ["NoSuchObject"], ran

    # ---- the process ----------------------------------------------------------------------------

    def kill(self) -> None:
        """The process is killed, what is on disk holds what is promised, and another one begins."""
        self._tell("kill")
        self._end(signal.SIGKILL)
        if (self.machine.state / "registry.db").exists() and (self.machine.store / "store.json").exists():
            assert violations(self.machine.state, {}, self.machine.store) == []
        self._begin()

    def restart(self) -> None:
        """The process is told to end, and another one begins."""
        self._tell("restart")
        code, took_s = self._end(signal.SIGTERM)
        assert code == 0, self.service.log
        assert took_s < 10, f"it took {took_s:.1f} s to end"
        self._begin()

    def close(self) -> None:
        """No process is left."""
        if self.service.process.poll() is None:
            self._end(signal.SIGKILL)

    def _begin(self) -> None:
        time.sleep(self._rng.choice((0.0, 0.0, 0.3)))
        self.service = Serving(self.machine)
        if self._rng.random() < 0.4:
            self.service.until(lambda: self.service.get("/readyz"))

    def _end(self, signum: signal.Signals) -> tuple[int, float]:
        if signum is signal.SIGTERM:
            self.service.until(lambda: "serving " in self.service.log)
        ended = self.service.end(signum)
        self.assert_no_bug()
        return ended

    def stacks(self) -> str:
        """Where each thread of the process was, which is ended for that; needs PYTHONFAULTHANDLER."""
        self.service.end(signal.SIGABRT)
        return self.service.log

    def assert_no_bug(self) -> None:
        """Nothing in the log tells of one."""
        for word in ("Traceback", "because of a bug", "a bug in"):
            assert word not in self.service.log, self.service.log

    def service_hang_up(self) -> None:
        """The process is told to look at its settings again."""
        if "serving " in self.service.log:
            self._tell("hang up")
            self.service.hang_up()

    # ---- origins --------------------------------------------------------------------------------

    def fail(self) -> None:
        """One file at one origin misbehaves from now on."""
        origin, number = self._rng.randrange(3), self._rng.randrange(len(CONTENTS))
        if self._rng.random() < 0.7:  # rather one that somebody wants
            number = self.models[self._any_model()].content
        here, away = (self.origins[n].url(f"/{number}") for n in (origin, (origin + 1) % 3))
        fault = any_fault(self._rng, CONTENTS[number].size_bytes, here, away)
        self._tell(f"fail {number} at {origin}: {fault}")
        self._put(origin, number, fault, etag=f'"{self._rng.randrange(3)}"')

    def _recover_one(self) -> None:
        origin, number = self._rng.randrange(3), self.models[self._any_model()].content
        self._tell(f"recover {number} at {origin}")
        self._put(origin, number, Fault(bytes_per_s=8 * MIB))

    def heal(self) -> None:
        """Every origin is honest."""
        for origin in range(3):
            for number in range(len(CONTENTS)):
                self._put(origin, number, Fault())

    def _put(self, origin: int, number: int, fault: Fault, etag: str = '"v1"') -> None:
        self.origins[origin].put(f"/{number}", CONTENTS[number], etag=etag, always=fault)

    # ---- the calm -------------------------------------------------------------------------------

    def calm(self) -> None:
        """Faults are over, nothing is told to rest, and what failed for good is tried again, as a person would."""
        self._tell("calm")
        self.heal()
        self._concurrency = {"max": 6, "per_host": 4}
        self._declare()
        until(lambda: self.service.get("/readyz"), lambda: self.service.log)
        for directive in self.machine.listed("directives"):
            self._command("resume", directive["subject"])
        deadline_s, nudged_s = time.monotonic() + CONVERGE_S, time.monotonic()
        while not self._is_converged():
            assert time.monotonic() < deadline_s, f"it does not converge:\n{self.standing()}"
            assert self.service.process.poll() is None, self.service.log
            if time.monotonic() > nudged_s + 15:
                self._nudge()
                nudged_s = time.monotonic()
            time.sleep(0.2)
        self.assert_no_bug()

    def _nudge(self) -> None:
        """A person lets what has failed, or would wait for minutes, try again: by pausing and resuming it."""
        for job in self.machine.listed("jobs"):
            if job["state"] in ("error", "waiting"):
                self._command("pause", job["digest"])
                until(partial(self._rests, job["digest"]), self.standing)
                self._command("resume", job["digest"])

    def _rests(self, digest: str) -> bool:
        return all(job["state"] == "paused" for job in self.machine.listed("jobs") if job["digest"] == digest)

    def _is_converged(self) -> bool:
        conditions = self.service.get("/state/conditions")["items"]
        ready = {
            name
            for name, item in conditions.items()
            for row in item["conditions"]
            if (row["type"], row["status"]) == ("Ready", True)
        }
        wanted = {f"models/{name}" for name in self.models} | {"node"}
        return ready >= wanted and set(conditions) == wanted and not self.leftovers()

    def leftovers(self) -> list[str]:
        """What is on disk, in the registry or in the lane, and should not be."""
        found = [f"job {job['digest'][:12]} {job['state']}" for job in self.machine.listed("jobs")]
        found += [f"directive {each['kind']} {each['subject']}" for each in self.machine.listed("directives")]
        there = {str(path.relative_to(self.machine.state)) for path in self.machine.state.rglob("*")}
        return found + sorted(there ^ self._expected_files(there)) + self._busy_permits()

    def _busy_permits(self) -> list[str]:
        permits = self.service.get("/state/models_metrics")["items"]["concurrency"]
        return [f"permits {permits}"] if permits["held_permits"] or permits["pending_shrink"] else []

    def _expected_files(self, there: set[str]) -> set[str]:
        """The names below the state directory when exactly what is declared is there."""
        expected = {"lock", "registry.db", "registry.db-shm", "registry.db-wal", "last-good.json"}
        expected |= {"models", "views", "slots", "slots/.records", "store", "store/store.json"}
        expected |= {f"store/{each}" for each in ("by-hash", "tmp", "quarantine", "corrupt", "generations")}
        optional = {"requests", "slots", "slots/.records", "registry.db-shm", "registry.db-wal"}
        for name, declared in self.models.items():
            expected |= {f"models/{name}.json", f"views/{name}", f"store/by-hash/{sha256(CONTENTS[declared.content])}"}
        generations = {
            str(path.relative_to(self.machine.state))
            for name in self.models
            if (folder := self.machine.view(name).resolve()).is_dir()
            for path in (folder, *folder.rglob("*"))
        }
        return (expected - optional) | generations | (there & optional)

    def standing(self) -> str:
        """How it stands, for whoever reads why it failed."""
        rows = [
            f"{name}: {row['reason']} {row['message']}"
            for name, item in self.service.get("/state/conditions")["items"].items()
            for row in item["conditions"]
            if row["type"] == "Ready" and not row["status"]
        ]
        return "\n".join([*rows, *self.leftovers(), self.service.log[-4000:]])

    def assert_whole(self) -> None:
        """Every declared model can be read by its name, and nothing that is promised of the disk is broken."""
        for name, declared in self.models.items():
            [file] = self.machine.view(name).iterdir()
            content: Content = CONTENTS[declared.content]
            assert sha256(file) == sha256(content), name
        assert violations(self.machine.state, {}, self.machine.store) == []
