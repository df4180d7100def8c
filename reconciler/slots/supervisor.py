"""Launches of one kind: started, found again, watched and ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.core.errors import ReconcilerError
from reconciler.core.process import ProcessState
from reconciler.ports import Clock
from reconciler.slots.identity import identity_of_child
from reconciler.slots.launch import LaunchFiles, LaunchRecord
from reconciler.slots.spawn import spawn
from reconciler.slots.watcher import Care, Watch, look

CLOSE_S = 0.5
# For all together. A thread in the middle of a health check ends by itself soon, and nothing depends on its end.


@dataclass(frozen=True, slots=True)
class Seen:
    """A launch as it is."""

    record: LaunchRecord
    answer: str
    """What its last examination found wrong; empty if nothing, or if there was none."""


class Supervisor:
    """Only the pass calls it. With `wake` every launch that is found is watched; else looking changes nothing."""

    def __init__(self, files: LaunchFiles, care: Care, clock: Clock, wake: Callable[[], None] | None) -> None:
        self._files = files
        self._care = care
        self._clock = clock
        self._wake = wake
        self._watched: dict[str, Watch] = {}

    def seen(self) -> tuple[Seen, ...]:
        """All launches there are, oldest first."""
        self._watched = {key: watch for key, watch in self._watched.items() if watch.seen()[0] and not watch.has_failed}
        return tuple(seen for record in self._files.load() if (seen := self._see(record)) is not None)

    def find(self, slot: str, launch_id: str) -> Seen | None:
        """The launch; None if there is none."""
        record = self._files.find(slot, launch_id)
        return None if record is None else self._see(record)

    def launch(
        self,
        intent: LaunchRecord,
        command: Sequence[str],
        environment: Mapping[str, str],
        pass_fds: Collection[int] = (),
    ) -> None:
        """It runs, is on record and is watched. Raises StalledError (reason `CannotStart`), leaving nothing behind."""
        self._files.sweep(intent.slot)
        self._files.save(intent)
        try:
            log, mark = Path(intent.log_path), intent.launch_id
            pid = spawn(command, environment, log, mark=mark, pass_fds=pass_fds)
        except ReconcilerError:
            self._files.remove(intent)
            raise
        started = replace(intent, identity=identity_of_child(pid))
        self._files.save(started)
        self._watch(started)

    def stop(self, slot: str, launch_id: str) -> None:
        """It is asked to end and will be made to; what has ended is on record no more."""
        watch = self._watched.get(launch_id)
        if watch is None:
            record = self._files.find(slot, launch_id)
            if record is None:
                return
            found = look(record)
            if found is None or found.state is ProcessState.EXITED:
                self._files.remove(record)
                return
            watch = self._watch(record)
        watch.stop()

    def rescaled(self, slot: str, launch_id: str, scales: tuple[float, ...]) -> None:
        """The record says that the launch applies its adapters with these scales."""
        watch = self._watched.get(launch_id)
        record = self._files.find(slot, launch_id) if watch is None else None
        if record is not None:
            watch = self._watch(record)
        if watch is not None:
            watch.rescaled(scales)

    def close(self) -> None:
        """Nothing is watched any more; everything runs on."""
        watched, self._watched = tuple(self._watched.values()), {}
        for watch in watched:
            watch.close()
        until = self._clock.monotonic() + CLOSE_S
        for watch in watched:
            watch.join(max(0.0, until - self._clock.monotonic()))

    def _see(self, record: LaunchRecord) -> Seen | None:
        watch = self._watched.get(record.launch_id)
        if watch is not None:
            now, answer = watch.seen()
            if now is None:
                return None
            if now.identity is not None:
                return Seen(now, answer)
        if watch is None and self._wake is not None:
            record = self._found(record)
        found = look(record)
        if watch is None and self._wake is not None and (found is None or record.state is not ProcessState.EXITED):
            self._watch(record)  # which also removes what is left of one that is gone
        return None if found is None else Seen(found, "")

    def _found(self, record: LaunchRecord) -> LaunchRecord:
        """The record of a launch that nobody watched: how long it has not answered is counted from now."""
        was_asked = record.state in (ProcessState.STARTING, ProcessState.UNHEALTHY)
        return replace(record, since=self._clock.now()) if was_asked else record

    def _watch(self, record: LaunchRecord) -> Watch:
        watch = Watch(record, self._files, self._care, self._clock, self._wake or _nobody)
        self._watched[record.launch_id] = watch
        watch.start()
        return watch


def _nobody() -> None:
    """There is no loop to wake."""
