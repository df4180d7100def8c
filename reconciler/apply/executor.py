"""Carrying out a plan: jobs go to the lane, instant actions run here, in plan order, each once its needs are met.

A pass never waits for the lane. What depends on a job stays `waiting`; the job's end wakes the
loop, and the next plan holds the rest. One action that fails does not hold back another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar, get_args

from reconciler.apply import entries, prune, slots
from reconciler.apply.backends import Backends
from reconciler.core.action import (
    Action,
    AdoptHash,
    ApplyScales,
    DropChangedLink,
    Fetch,
    ForgetBlob,
    MarkUnreferenced,
    MoveSlot,
    Promote,
    Quarantine,
    Reclaim,
    RemoveEntry,
    RemoveGeneration,
    RemovePart,
    RemoveSlot,
    Rollback,
    SetRoute,
    StartCandidate,
    StartProcess,
    StopProcess,
    SwitchSlot,
    UnmarkUnreferenced,
    Verify,
    WriteEntry,
)
from reconciler.core.change import ChangeSet, UnverifyBlob
from reconciler.core.digest import Digest
from reconciler.core.errors import ReconcilerError
from reconciler.core.job import Code
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan
from reconciler.core.report import Result, ResultStatus

_Op = TypeVar("_Op")

BATCH = 1000
# Rows per commit: large enough that fsync costs little, small enough that a failure names few objects.


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did."""

    results: tuple[Result, ...]
    """One per action of the plan, in plan order."""

    @property
    def did_something(self) -> bool:
        """Whether any instant action was carried out: then another look can find more to do."""
        return any(result.status is ResultStatus.DONE for result in self.results)


class Executor:
    """Applies plans through the backends of one node."""

    def __init__(
        self,
        backends: Backends,
        render: entries.RenderRecord,
        acted: Callable[[Action, Result], None],
    ) -> None:
        self._backends = backends
        self._render = render
        self._acted = acted

    def apply(self, plan: Plan, observed: ObservedState, url_of: entries.UrlOf) -> Outcome:
        """Everything of `plan` that can be done now is done."""
        self._backends.lane.ensure(plan.jobs)
        results: dict[str, Result] = {}
        for batch in _batches(plan.actions):
            ready: list[Action] = []
            for action in batch:
                early = _not_now(action, results)
                if early is None:
                    ready.append(action)
                else:
                    results[action.id] = early
            for result in self._run(tuple(ready), plan, observed, url_of):
                results[result.id] = result
        return Outcome(tuple(results[action.id] for action in plan.actions))

    def _run(
        self, batch: tuple[Action, ...], plan: Plan, observed: ObservedState, url_of: entries.UrlOf
    ) -> Iterator[Result]:
        if not batch:
            return
        try:
            done = self._carry_out(batch, plan, observed, url_of)
        except ReconcilerError as error:
            if len(batch) > 1:
                # One bad member must not hold back the others: each is tried alone, which is harmless to repeat.
                for action in batch:
                    yield from self._run((action,), plan, observed, url_of)
                return
            result = _failure(batch[0].id, error)
            self._acted(batch[0], result)
            yield result
            return
        for action in batch:
            result = done.get(action.id, Result(action.id, ResultStatus.DONE))
            self._acted(action, result)
            yield result

    def _carry_out(
        self, batch: tuple[Action, ...], plan: Plan, observed: ObservedState, url_of: entries.UrlOf
    ) -> Mapping[str, Result]:
        """Carry out a batch of one kind of operation; the results that are not simply done."""
        backends = self._backends
        first = batch[0].operation
        match first:
            case Fetch() | AdoptHash() | Verify():
                return {a.id: Result(a.id, ResultStatus.WAITING) for a in batch}
            case WriteEntry():
                sizes = _sizes(batch, observed)
                failures = entries.write_entries(_pairs(batch, WriteEntry), backends, self._render, sizes, url_of)
                return {i: _failure(i, error) for i, error in failures.items()}
            case RemoveEntry():
                entries.remove_entries(_pairs(batch, RemoveEntry), backends)
            case RemoveGeneration():
                entries.remove_generations(_pairs(batch, RemoveGeneration), backends)
            case (
                SwitchSlot()
                | StartCandidate()
                | Promote()
                | Rollback()
                | StartProcess()
                | StopProcess()
                | ApplyScales()
                | SetRoute()
                | MoveSlot()
                | RemoveSlot()
            ):
                waits = slots.change_slot(batch[0], first, plan, backends)
                return {} if waits is None else {waits.id: waits}
            case MarkUnreferenced() | UnmarkUnreferenced() | ForgetBlob():
                return self._mark(batch, observed, plan)
            case Quarantine() | Reclaim():
                return self._delete(batch, observed, plan)
            case RemovePart(digest=digest):
                return self._remove_part(batch[0], digest)
            case DropChangedLink(digest=digest):
                backends.store.unlink(digest)
                backends.registry.commit(ChangeSet((UnverifyBlob(digest),)))
        return {}

    def _mark(self, batch: tuple[Action, ...], observed: ObservedState, plan: Plan) -> Mapping[str, Result]:
        forgotten = frozenset(op.digest for a in batch if isinstance(op := a.operation, ForgetBlob))
        written = prune.still_written(forgotten, self._backends)
        kept = {
            a.id: _kept(a, "it has bytes again")
            for a in batch
            if isinstance(a.operation, ForgetBlob) and a.operation.digest in written
        }
        marks = tuple((a, op) for a in batch if isinstance(op := a.operation, prune.Marking) and a.id not in kept)
        prune.mark(marks, self._backends, observed, plan.fingerprint)
        return kept

    def _remove_part(self, action: Action, digest: Digest) -> Mapping[str, Result]:
        if digest in self._backends.lane.active():
            return {action.id: _kept(action, "a job still writes it")}
        self._backends.store.remove_part(digest)
        return {}

    def _delete(self, batch: tuple[Action, ...], observed: ObservedState, plan: Plan) -> Mapping[str, Result]:
        needed = prune.still_needed(frozenset(Digest(a.name) for a in batch), self._backends)
        kept: dict[str, Result] = {}
        for action in batch:
            operation = action.operation
            if action.name in needed:
                kept[action.id] = _kept(action, "something names it again")
            elif isinstance(operation, Quarantine):
                prune.quarantine(action, operation, self._backends, observed, plan.fingerprint)
            elif isinstance(operation, Reclaim):
                prune.reclaim(action, operation, self._backends, observed, plan.fingerprint)
        return kept


_ALONE = (*get_args(slots.SlotOperation), RemovePart, DropChangedLink)
_MARKS = (MarkUnreferenced, UnmarkUnreferenced, ForgetBlob)


def _batches(actions: tuple[Action, ...]) -> Iterator[tuple[Action, ...]]:
    """Neighbours of one kind, together where they share a commit; plan order is kept."""
    for key, group in groupby(enumerate(actions), key=lambda pair: _batch_key(*pair)):
        members = tuple(action for _, action in group)
        del key
        for start in range(0, len(members), BATCH):
            yield members[start : start + BATCH]


def _batch_key(index: int, action: Action) -> tuple[str, int]:
    if isinstance(action.operation, _ALONE):
        return action.op, index
    return ("marks" if isinstance(action.operation, _MARKS) else action.op), -1


def withheld(action: Action) -> Result | None:
    """The result of an action that its plan blocks; None for any other."""
    block = action.blocked
    if block is None:
        return None
    return Result(action.id, ResultStatus.BLOCKED, block.code, block.message, block.reason, block.hint)


def waits_for(need: str) -> str:
    """What is said of an action whose `need`, another action, is not done."""
    return f"waits for {need}"


def _not_now(action: Action, results: Mapping[str, Result]) -> Result | None:
    """Why the action can't run in this pass: withheld, or something it needs is not done."""
    blocked = withheld(action)
    if blocked is not None:
        return blocked
    for need in action.depends_on:
        before = results.get(need)
        if before is not None and before.status is not ResultStatus.DONE:
            status = ResultStatus.BLOCKED if before.status is ResultStatus.BLOCKED else ResultStatus.WAITING
            return Result(action.id, status, before.code, waits_for(need))
    return None


def _pairs(batch: tuple[Action, ...], kind: type[_Op]) -> tuple[tuple[Action, _Op], ...]:
    return tuple((action, op) for action in batch if isinstance(op := action.operation, kind))


def _sizes(batch: tuple[Action, ...], observed: ObservedState) -> Mapping[Digest, int]:
    wanted = {digest for _, op in _pairs(batch, WriteEntry) for digest in op.files.digests}
    blobs = ((digest, observed.blobs.get(digest)) for digest in wanted)
    return {digest: blob.size_bytes or 0 for digest, blob in blobs if blob is not None}


def _kept(action: Action, why: str) -> Result:
    """Nothing was taken away; the next plan looks again."""
    return Result(action.id, ResultStatus.WAITING, None, why)


def _failure(action_id: str, error: ReconcilerError) -> Result:
    return Result(action_id, ResultStatus.FAILED, _code(error), error.message, error.reason, error.hint)


def _code(error: ReconcilerError) -> Code | None:
    return {
        "DiskInsufficient": Code.DISK_INSUFFICIENT,
        "StoreMissing": Code.STORE_MISSING,
        "StorageOperationFailed": Code.IO,
    }.get(error.reason)
