"""Holds: what operators told to rest, as the reason why an action is withheld and as the state of its job.

A hold is no accident: it is shown as blocked like everything a person must decide, but nothing is
wrong, so that exit code 4 and the condition `Stalled` are not for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC

from reconciler.core.action import Action, AdoptHash, Block, Fetch, RemovePart, SetRoute, StopProcess
from reconciler.core.digest import Digest, is_digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.job import Code, JobState
from reconciler.core.observed import ObservedState
from reconciler.plan import steps
from reconciler.plan.needs import Need
from reconciler.plan.opening import awaits_window

NODE = "node"
"""The subject that stands for the whole machine."""

SUSPENDED = "Suspended"
PAUSED = "Paused"
CANCELED = "Canceled"

_REASONS: Mapping[DirectiveKind, str] = {
    DirectiveKind.SUSPEND: SUSPENDED,
    DirectiveKind.PAUSE: PAUSED,
    DirectiveKind.CANCEL: CANCELED,
}
HELD_REASONS = frozenset(_REASONS.values())
"""Why something rests that an operator holds back."""

_DEEDS: Mapping[DirectiveKind, str] = {
    DirectiveKind.PIN: "pinned",
    DirectiveKind.UNDELETE: "undeleted",
    DirectiveKind.CONFIRM: "confirmed",
    DirectiveKind.SUSPEND: "suspended",
    DirectiveKind.PAUSE: "paused",
    DirectiveKind.CANCEL: "canceled",
    DirectiveKind.LOAD: "loaded",
    DirectiveKind.UNLOAD: "unloaded",
    DirectiveKind.DOWN: "taken down",
}
_OF_A_FETCH = (DirectiveKind.CANCEL, DirectiveKind.SUSPEND, DirectiveKind.PAUSE)
# In the order in which they are told when several hold the same download.


@dataclass(frozen=True, slots=True)
class _Holds:
    """The directives that hold something, by kind and subject."""

    found: Mapping[tuple[DirectiveKind, str], Directive]

    def of(self, kinds: tuple[DirectiveKind, ...], subject: str) -> Directive | None:
        return next((self.found[kind, subject] for kind in kinds if (kind, subject) in self.found), None)


def withhold(actions: tuple[Action, ...], directives: tuple[Directive, ...]) -> tuple[Action, ...]:
    """The actions, with those blocked that an operator told to rest; what is blocked already stays as it is.

    An action that several objects need is done as long as one of them does not rest.
    """
    holds = _holds(directives)
    if not holds.found:
        return actions
    return tuple(_withheld(action, holds) for action in actions)


def withheld_fetches(
    digests: Iterable[Digest], needed: Mapping[Digest, Need], directives: tuple[Directive, ...]
) -> Mapping[Digest, Action]:
    """The fetches of those digests that are needed, with those blocked that an operator told to rest."""
    fetches = tuple(steps.fetch(needed[digest], 0) for digest in digests if digest in needed)
    return {Digest(fetch.name): fetch for fetch in withhold(fetches, directives)}


def canceled_parts(actions: tuple[Action, ...], observed: ObservedState) -> Iterator[Action]:
    """The removal of partial downloads of canceled jobs, once their job stands still."""
    for action in actions:
        if action.blocked is None or action.blocked.reason != CANCELED:
            continue
        digest = Digest(action.name)
        job, blob = observed.jobs.get(digest), observed.blobs.get(digest)
        if job is None or job.state is not JobState.CANCELED or blob is None or blob.part_bytes is None:
            continue
        yield steps.remove_part(digest, blob.part_bytes, reason=CANCELED, message=f"{action.blocked.message}")


def unwanted_parts(actions: tuple[Action, ...], observed: ObservedState) -> Iterator[Action]:
    """The removal of partial downloads that an operator canceled by digest, which no job and no action is about."""
    if observed.unreadable:
        return
    busy = {action.name for action in actions if isinstance(action.operation, Fetch | AdoptHash | RemovePart)}
    for directive in observed.directives:
        if directive.kind is not DirectiveKind.CANCEL or not is_digest(directive.subject):
            continue
        digest = Digest(directive.subject)
        blob = observed.blobs.get(digest)
        if blob is None or blob.part_bytes is None or digest in busy or digest in observed.jobs:
            continue
        yield steps.remove_part(digest, blob.part_bytes, reason=CANCELED, message=told(directive))


def node_hold(directives: tuple[Directive, ...]) -> Directive | None:
    """The directive that suspends the whole node."""
    return _holds(directives).of((DirectiveKind.SUSPEND,), NODE)


def object_hold(ref: str, directives: tuple[Directive, ...]) -> Directive | None:
    """The directive that says that an object is to rest, whether or not there is anything to withhold."""
    return _holds(directives).of((DirectiveKind.SUSPEND, DirectiveKind.PAUSE), ref)


def holds_by_subject(directives: tuple[Directive, ...]) -> Mapping[str, Directive]:
    """What holds an object, its downloads, a digest or the node; of several directives, the one that is told first."""
    holds = _holds(directives)
    found = {subject: holds.of(_OF_A_FETCH, subject) for _, subject in holds.found}
    return {subject: directive for subject, directive in found.items() if directive is not None}


def is_held(action: Action) -> bool:
    """Whether nothing but an operator's own decision withholds the action."""
    return action.blocked is not None and is_hold(action.blocked)


def is_hold(block: Block) -> bool:
    """Whether it is an operator's own decision."""
    return block.reason in HELD_REASONS


def held_state(action: Action) -> JobState | None:
    """The state in which the job of a fetch rests that is withheld or waits for a window; None if it has none."""
    if not isinstance(action.operation, Fetch):
        return None
    if action.blocked is None:
        return JobState.WAITING if awaits_window(action) else None
    match action.blocked.reason:
        case "Suspended" | "Paused":
            return JobState.PAUSED
        case "Canceled":
            return JobState.CANCELED
        case _:
            return None


def pin_of(ref: str, directives: tuple[Directive, ...]) -> Directive | None:
    """The directive that pins an object."""
    return next((d for d in directives if d.kind is DirectiveKind.PIN and d.subject == ref), None)


def reason_of_hold(directive: Directive) -> str | None:
    """Suspended, Paused or Canceled; None for a directive that holds nothing."""
    return _REASONS.get(directive.kind)


def told(directive: Directive) -> str:
    """Who decided, when and why: `suspended by kim since 2026-01-02T03:04:05Z: moving the disk`."""
    at = directive.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    why = f": {directive.reason}" if directive.reason else ""
    return f"{_DEEDS[directive.kind]} by {directive.by} since {at}{why}"


def _holds(directives: tuple[Directive, ...]) -> _Holds:
    return _Holds({(d.kind, d.subject): d for d in directives if d.kind in _REASONS})


def _withheld(action: Action, holds: _Holds) -> Action:
    if action.blocked is not None or _is_asked_for(action):
        return action
    found = _hold(action, holds)
    if found is None:
        return action
    code = Code.CANCELED if found.kind is DirectiveKind.CANCEL else None
    return replace(action, blocked=Block(_REASONS[found.kind], code, told(found), hint=_way_on(found)))


def _way_on(directive: Directive) -> str:
    """What ends the hold: it was given for the subject that it names, and ends with that alone."""
    subject = "" if directive.subject == NODE else f" {directive.subject}"
    return f"`reconcile resume{subject}` lets it go on"


def _is_asked_for(action: Action) -> bool:
    """Whether an operator asked for just this: `unload` and `down` work on what is suspended, too."""
    return isinstance(action.operation, StopProcess | SetRoute) and action.reason in ("Unloaded", "Down")


def _hold(action: Action, holds: _Holds) -> Directive | None:
    everything = holds.of((DirectiveKind.SUSPEND,), NODE)
    if everything is not None:
        return everything
    operation = action.operation
    if not isinstance(operation, Fetch):
        return _of_all(action, (DirectiveKind.SUSPEND,), holds)
    itself = holds.of((DirectiveKind.CANCEL, DirectiveKind.PAUSE), operation.digest)
    return itself or _of_all(action, _OF_A_FETCH, holds)


def _of_all(action: Action, kinds: tuple[DirectiveKind, ...], holds: _Holds) -> Directive | None:
    """What holds the first owner, if every owner rests."""
    found = [_of_owner(action, owner, kinds, holds) for owner in action.owners]
    return found[0] if found and None not in found else None


def _of_owner(action: Action, owner: str, kinds: tuple[DirectiveKind, ...], holds: _Holds) -> Directive | None:
    """A cancellation is about the bytes that the owner wanted when it was given, not about others."""
    found = holds.of(kinds, owner)
    if found is not None and found.kind is DirectiveKind.CANCEL and action.name not in found.digests:
        return holds.of(tuple(kind for kind in kinds if kind is not DirectiveKind.CANCEL), owner)
    return found
