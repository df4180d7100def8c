"""What becomes of directives: when one is done, and what a confirmation has to remember. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from reconciler.core.change import Change, DropDirective, PutDirective, SetFact
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest, is_digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.observed import ObservedState, Place
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.plan.guard import confirmation, tokens

WITHHELD = "withheld"
"""The fact that holds what a person must confirm for pruning to go on; empty or absent: nothing."""


def dropped_at_start(directives: tuple[Directive, ...]) -> tuple[DropDirective, ...]:
    """The directives that a converge, or a start of `serve`, ends."""
    return tuple(_drop(d) for d in directives if d.kind is DirectiveKind.DOWN)


def finished(observed: ObservedState, desired: DesiredState, plan: Plan) -> tuple[DropDirective, ...]:
    """The directives that are done, or about something that is no more; `plan` is the whole one.

    A pin, a suspension and a pause end when a person says so. While a record can't be read or a
    source is not ready, nothing ends because something seems to be gone.
    """
    if observed.unreadable:
        return ()
    return tuple(_drop(d) for d in observed.directives if _is_finished(d, observed, desired, plan))


def confirmed(observed: ObservedState, policy: PlanPolicy, plan: Plan, at: datetime) -> tuple[PutDirective, ...]:
    """Confirmations of exactly what `plan` takes away, with all it covers.

    So that what is left of it stays confirmed while it is carried out, also by the next process.
    """
    named = confirmation(plan.actions)
    known = {d.subject: d for d in observed.directives if d.kind is DirectiveKind.CONFIRM}
    given = known.get(named)
    if given is None and policy.confirm_prune == named:
        given = Directive(DirectiveKind.CONFIRM, named, (), "--confirm-prune", at)
    covers = tokens(plan.actions)
    if given is None or given.digests == covers or not covers:
        return ()
    return (PutDirective(Directive(given.kind, named, covers, given.by, given.at, given.reason)),)


def follow_up(
    observed: ObservedState,
    desired: DesiredState,
    plan: Plan,
    policy: PlanPolicy,
    facts: Mapping[str, str],
    at: datetime,
) -> tuple[Change, ...]:
    """Everything the registry must hear about directives after a look; nothing if nothing changed."""
    withheld = plan.fuse.confirm if plan.fuse is not None else ""
    told = (SetFact(WITHHELD, withheld),) if facts.get(WITHHELD, "") != withheld else ()
    return (*finished(observed, desired, plan), *confirmed(observed, policy, plan, at), *told)


def _drop(directive: Directive) -> DropDirective:
    return DropDirective(directive.kind, directive.subject)


def _is_finished(directive: Directive, observed: ObservedState, desired: DesiredState, plan: Plan) -> bool:
    match directive.kind:
        case DirectiveKind.UNDELETE:
            return not any(_in_quarantine(observed, digest) for digest in directive.digests)
        case DirectiveKind.CONFIRM:
            return _says_something(desired) and _is_spent(directive, plan)
        case DirectiveKind.CANCEL:
            return _says_something(desired) and _is_outdated(directive, observed, desired)
        case DirectiveKind.LOAD | DirectiveKind.UNLOAD:
            return _says_something(desired) and directive.subject.removeprefix("slots/") not in desired.slots
        case DirectiveKind.PIN | DirectiveKind.SUSPEND | DirectiveKind.PAUSE | DirectiveKind.DOWN:
            return False


def _says_something(desired: DesiredState) -> bool:
    """Whether `desired` was read and all of it could be: only then does what it leaves out mean anything."""
    return bool(desired.revision) and not desired.provenance.unready


def _is_spent(directive: Directive, plan: Plan) -> bool:
    """Nothing that it covers is left to be taken away, or it was given for another plan."""
    if directive.subject == confirmation(plan.actions):
        return not tokens(plan.actions)
    return set(directive.digests).isdisjoint(tokens(plan.actions))


def _is_outdated(directive: Directive, observed: ObservedState, desired: DesiredState) -> bool:
    """The declaration changed, or the bytes came from elsewhere: there is nothing left to keep from starting."""
    wanted = frozenset(_declared(directive.subject, desired))
    if not wanted and is_digest(directive.subject):  # it is about what is left of a download that nobody wants
        left = observed.blobs.get(Digest(directive.subject))
        return left is None or left.part_bytes is None
    if wanted != frozenset(directive.digests):
        return True
    blobs = (observed.blobs.get(digest) for digest in directive.digests)
    return all(blob is not None and blob.place is Place.BY_HASH for blob in blobs)


def _declared(subject: str, desired: DesiredState) -> Iterator[Digest]:
    """What the manifests declare for an object, or the digest itself if anything wants it."""
    for weights in desired.weights():
        for file in weights.files:
            if subject in (weights.ref, file.digest):
                yield file.digest


def _in_quarantine(observed: ObservedState, digest: Digest) -> bool:
    blob = observed.blobs.get(digest)
    return blob is not None and blob.place is Place.QUARANTINE
