"""What telling 100 changes among 10,000 models costs, next to `jsonpatch.make_patch` of the same documents.

Run as `python bench/patch.py`. Both sides run in turn in one process; each ratio is the median of
the paired ratios, so that a machine that is busy for a while does not decide it. Ours verifies its
patch with jsonpatch; the peer's is applied outside the clock, to see that both lead to the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import jsonpatch
from manifest import manifest_text
from plan import NOW, converged, desired_state

from reconciler.core.desired import DesiredState
from reconciler.core.event import EventId
from reconciler.core.observed import ObservedState
from reconciler.core.plan import PlanPolicy
from reconciler.core.transfers import Concurrency, Figures
from reconciler.plan.planner import make_plan
from reconciler.publish.documents import Documents, Update
from reconciler.publish.machine import Machine
from reconciler.publish.patch import diff
from reconciler.publish.read_models import READ_MODELS
from reconciler.publish.read_models.view import JsonObject, ReadModel, view_of
from reconciler.publish.status import SourceStatus, Status
from reconciler.publish.table import Table
from reconciler.publish.work import Moment

TARGET = 1 / 200
QUIET = Moment((), Figures(Concurrency(2, 2, 0, 16)))
"""Nothing runs."""
T = TypeVar("T")


def status_of(desired: DesiredState, observed: ObservedState) -> Status:
    """A pass that saw `observed`."""
    policy = PlanPolicy()
    source = SourceStatus("folder", "/bench", desired.revision)
    return Status(NOW, 0.1, desired, observed, make_plan(desired, observed, policy, NOW), policy, (), (), source, ())


def with_damage(observed: ObservedState, count: int) -> ObservedState:
    """The same machine with `count` damaged files, evenly spread."""
    blobs = dict(observed.blobs)
    for digest in sorted(blobs)[:: len(blobs) // count][:count]:
        blobs[digest] = replace(blobs[digest], damaged=True)
    return replace(observed, blobs=blobs)


def models_of(status: Status, table: Table) -> Mapping[str, JsonObject]:
    """The items of `models`, made with what `table` knows already, which is then what it knows."""
    change = table.rebuilt(view_of(status, QUIET, Machine()))
    assert change is not None
    table.accept(change)
    return change.items


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """How long `work` takes, and what it gives."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def updated(status: Status, documents: Documents) -> Update:
    """What the status changes in all documents."""
    return documents.compare(status, QUIET)


def run(before: Status, after: Status, model: ReadModel, changed: int, note: Callable[[str, float], None]) -> None:
    """Everything once."""
    table = Table(model)
    seconds, old = timed(lambda: models_of(before, table))
    note("models from scratch", seconds)
    view = view_of(after, QUIET, Machine())
    seconds, change = timed(lambda: table.rebuilt(view))
    note("models, next pass", seconds)
    assert change is not None
    assert len(change.changed) == changed
    new = change.items
    seconds, peer = timed(lambda: jsonpatch.make_patch({"items": old}, {"items": new}))
    note("jsonpatch.make_patch", seconds)
    seconds, patch = timed(lambda old=old, new=new, ids=change.changed: diff(old, new, ids))
    note("diff, ids known", seconds)
    seconds, found = timed(lambda: diff(old, new))
    note("diff, ids unknown", seconds)
    assert patch == found == change.patch
    assert jsonpatch.apply_patch({"items": old}, list(patch)) == peer.apply({"items": old}) == {"items": new}
    documents = Documents(EventId("0" * 8, 1), Machine())
    seconds, update = timed(lambda: updated(before, documents))
    note("all documents from scratch", seconds)
    documents.accept(update, EventId("0" * 8, 100))
    seconds, update = timed(lambda: updated(after, documents))
    note("all documents, next pass", seconds)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=10_000)
    options.add_argument("--changed", type=int, default=100)
    options.add_argument("--runs", type=int, default=9)
    options.add_argument("--seed", type=int, default=7)
    chosen = options.parse_args()
    desired = desired_state(manifest_text(chosen.models, chosen.seed))
    seen = converged(desired)
    before, after = status_of(desired, seen), status_of(desired, with_damage(seen, chosen.changed))
    model = next(each for each in READ_MODELS if each.name == "models")
    rows: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        rows.setdefault(name, []).append(seconds)

    for _ in range(chosen.runs):
        run(before, after, model, chosen.changed, note)
    print(f"{chosen.models} models, {chosen.changed} changed, {chosen.runs} runs: min, median, max")
    for name, seconds_taken in rows.items():
        low, middle, high = (f(seconds_taken) * 1000 for f in (min, statistics.median, max))
        print(f"{name:27} {low:9.3f} {middle:9.3f} {high:9.3f} ms")
    for name, peer_name, target in (
        ("diff, ids known", "jsonpatch.make_patch", f"(target 1/{1 / TARGET:.0f})"),
        ("diff, ids unknown", "jsonpatch.make_patch", ""),
        ("models, next pass", "models from scratch", ""),
        ("all documents, next pass", "all documents from scratch", ""),
    ):
        ratio = statistics.median(mine / theirs for mine, theirs in zip(rows[name], rows[peer_name], strict=True))
        shown = f"1/{1 / ratio:.0f}" if ratio < 0.1 else f"{ratio:.2f}"
        print(f"{name:24} to {peer_name:26} {shown:>8}  {target}")


if __name__ == "__main__":
    main()
