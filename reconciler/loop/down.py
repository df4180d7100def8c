"""Taking slots down: their processes end and their stable addresses are given up; records and links stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.core.process import ProcessState
from reconciler.loop.steering import Decision
from reconciler.loop.trigger import Trigger
from reconciler.ports import Clock, Runtimes

TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class TakenDown:
    """What became of the processes of slots."""

    ended: tuple[str, ...]
    """Slots that had a process or a stable address, and have neither any more."""
    left: tuple[str, ...]
    """Slots that still had one of them when the time was over."""


def told(decision: Decision, found: TakenDown) -> Decision:
    """The decision, saying what became of the processes."""
    said = []
    if found.ended:
        said.append(f"stopped {_named(found.ended)}")
    if found.left:
        said.append(f"{_named(found.left)} still {'ends' if len(found.left) == 1 else 'end'}")
    if not said:
        said.append("no slot had a process")
        if not decision.changes:
            return replace(decision, message=f"{decision.message}; {said[0]}")
    message = f"{'; '.join(said)}; none is started before the next `reconcile`, start of `serve` or `reconcile resume`"
    return replace(decision, message=message)


def _named(slots: tuple[str, ...]) -> str:
    return ", ".join(f"slots/{slot}" for slot in slots)


def running(runtimes: Runtimes) -> tuple[str, ...]:
    """The slots that have a process or a stable address. A launch that ended by itself is no process."""
    return tuple(
        sorted(
            slot
            for slot, (launches, route) in runtimes.observe().items()
            if route is not None or any(launch.state is not ProcessState.EXITED for launch in launches)
        )
    )


def stop_all(runtimes: Runtimes) -> None:
    """Every launch is asked to end, and every stable address is given up. The caller holds the writer lock."""
    for slot, (launches, route) in runtimes.observe().items():
        if route is not None:
            runtimes.route(slot, None, None)
        for launch in launches:
            runtimes.stop(slot, launch.launch_id)


def await_end(runtimes: Runtimes, clock: Clock, before: tuple[str, ...], timeout_s: float) -> TakenDown:
    """Waits until nothing is `running`, but no longer than `timeout_s`; `before` is what was."""
    pause = Trigger()
    deadline = clock.monotonic() + timeout_s
    while left := running(runtimes):
        if clock.monotonic() >= deadline:
            break
        pause.wait(TICK_S)
    return TakenDown(tuple(slot for slot in before if slot not in left), left)
