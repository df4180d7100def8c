"""What an operator decides, as directives: from a word of the command line to a change of the registry. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from reconciler.core.change import Change, DropDirective, GrantTime, PutDirective
from reconciler.core.desired import DesiredState, Driver
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError, UnsafePlanError
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.job import Job
from reconciler.core.job_table import TABLE, Happening, may
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.loop.directives import WITHHELD
from reconciler.loop.subject import download_named, object_named
from reconciler.plan.holds import NODE, told

STALE = "StaleConfirmation"

_ENDED_BY_RESUME = (DirectiveKind.SUSPEND, DirectiveKind.PAUSE, DirectiveKind.CANCEL)


class Deed(StrEnum):
    """What an operator can decide by one command."""

    SUSPEND = "suspend"
    RESUME = "resume"
    PAUSE = "pause"
    CANCEL = "cancel"
    CONFIRM = "confirm"
    LOAD = "load"
    UNLOAD = "unload"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Operator:
    """Who decides, when, and why."""

    by: str
    at: datetime
    reason: str = ""
    corr_id: str = ""
    """Names the command in events that belong to no job."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command decided."""

    subject: str
    message: str
    """What is true from now on, in words."""
    changes: tuple[Change, ...] = ()
    """Nothing: it was so already, or there is nothing to decide about."""
    events: tuple[EventDraft, ...] = ()
    code: str = ""
    """`no-active-job` for a cancellation of nothing; else empty."""
    removed_bytes: int = 0
    """What went at once of the downloads that it ends."""
    ends: frozenset[Digest] = frozenset()
    """The downloads that a cancellation ends, or ended before, for all that declare them: what they have goes."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known when a decision is taken."""

    snapshot: RegistrySnapshot
    desired: DesiredState | None
    """As it was accepted last; None if nothing ever was, or it can't be read."""
    parts: frozenset[Digest] = frozenset()
    """The partial downloads on disk, as far as the deed is about any."""

    @property
    def refs(self) -> frozenset[str]:
        """Every object there is, or is to be."""
        found = {*self.snapshot.entries, *(c.object for c in self.snapshot.conditions)}
        if self.desired is not None:
            found |= {weights.ref for weights in self.desired.weights()}
            found |= {slot.ref for slot in self.desired.slots.values()}
        return frozenset(found)

    @property
    def digests(self) -> frozenset[Digest]:
        """Every digest that is here, or is to be."""
        return frozenset({*self.snapshot.blobs, *self.snapshot.jobs, *self.wanted, *self.parts})

    @property
    def wanted(self) -> frozenset[Digest]:
        """Every digest that the manifests declare."""
        weights = () if self.desired is None else self.desired.weights()
        return frozenset(file.digest for spec in weights for file in spec.files)

    def declared(self, ref: str) -> frozenset[Digest]:
        """The digests that the manifests declare for an object."""
        weights = () if self.desired is None else self.desired.weights()
        return frozenset(file.digest for spec in weights if spec.ref == ref for file in spec.files)

    def owned(self, ref: str) -> frozenset[Digest]:
        """The digests that an object has, had before, or is to have: none of them is to be pruned while it rests."""
        entry = self.snapshot.entries.get(ref)
        if entry is None:
            return self.declared(ref)
        earlier = frozenset(digest for files in entry.previous for digest in files.digests)
        return self.declared(ref) | entry.spec.digests | earlier

    def given(self, kind: DirectiveKind, subject: str) -> Directive | None:
        """The decision of that kind about the subject, if it holds."""
        return next((d for d in self.snapshot.directives if (d.kind, d.subject) == (kind, subject)), None)


def decide(deed: Deed, subject: str, view: View, operator: Operator) -> Decision:
    """What `deed` changes.

    Raises StalledError (`NoSuchObject`, `Ambiguous`, `NoProcess`), UnsafePlanError (`StaleConfirmation`).
    """
    return _DECISIONS[deed](subject, view, operator)


def _suspend(subject: str, view: View, operator: Operator) -> Decision:
    name = subject if subject == NODE else object_named(subject, view.refs)
    digests = frozenset[Digest]() if name == NODE else view.owned(name)
    ends = "`reconcile resume`" if name == NODE else f"`reconcile resume {name}`"
    what = "nothing is applied" if name == NODE else "nothing is done for it"
    return _put(DirectiveKind.SUSPEND, name, digests, view, operator, f"suspended {name}; {what} until {ends}")


def _resume(subject: str, view: View, operator: Operator) -> Decision:
    del operator
    steered = [d for d in view.snapshot.directives if d.kind in _ENDED_BY_RESUME]
    if subject == NODE:
        ends = [d for d in view.snapshot.directives if d.kind is DirectiveKind.DOWN]
        name, ends = NODE, ends + [d for d in steered if d.subject == NODE]
    else:
        name = _resumable(subject, view, steered)
        ends = [d for d in steered if d.subject == name]
    if not ends:
        return Decision(name, f"nothing changed: {name} is neither suspended, paused nor canceled")
    were = ", ".join(told(d) for d in ends)
    drops = (DropDirective(d.kind, d.subject) for d in ends)
    return Decision(name, f"resumed {name} ({were})", (*drops, *_time_again(name, view)))


def _time_again(name: str, view: View) -> Iterator[GrantTime]:
    """What has used up its time has it again, also where no process ever saw it rest."""
    digests = None if name == NODE else _download(name, view)
    for digest, job in view.snapshot.jobs.items():
        if job.spent_ms and (digests is None or digest in digests):
            yield GrantTime(digest)


def _resumable(subject: str, view: View, steered: list[Directive]) -> str:
    """What is held may be declared no more, and a digest that is held may be unknown to everything else."""
    names = {d.subject for d in steered if d.subject != NODE}
    subjects = {name for name in names if "/" in name}
    held = {Digest(name) for name in names - subjects}
    if subject.partition("/")[0] == "slots":
        return object_named(subject, view.refs | subjects)
    try:
        return download_named(subject, view.refs | subjects, view.digests | held)
    except StalledError as error:
        if error.reason != "NoSuchObject":
            raise
        return object_named(subject, view.refs | subjects)


def _pause(subject: str, view: View, operator: Operator) -> Decision:
    name = download_named(subject, view.refs, view.digests)
    digests = _download(name, view)
    rests = f"paused {name}; its downloads rest, and keep what they have, until `reconcile resume {name}`"
    message = f"{rests}{_going_on(Deed.PAUSE, _shared(name, digests, view))}"
    canceled = view.given(DirectiveKind.CANCEL, name)
    drops = () if canceled is None else (DropDirective(canceled.kind, canceled.subject),)
    return _put(DirectiveKind.PAUSE, name, digests, view, operator, message, drops)


def _cancel(subject: str, view: View, operator: Operator) -> Decision:
    name = download_named(subject, view.refs, view.digests)
    digests = _download(name, view)
    jobs = [view.snapshot.jobs[d] for d in sorted(digests) if d in view.snapshot.jobs]
    active = [job for job in jobs if may(job.state, Happening.CANCEL_ASKED)]
    known, ending = view.given(DirectiveKind.CANCEL, name), digests - _kept(name, view)
    if known is not None and (left := view.parts & ending & frozenset(known.digests)):
        return Decision(name, f"{name} is {told(known)}", ends=left)
    if not active and (known is not None or view.parts.isdisjoint(digests)):
        code = _status_of(Happening.NOTHING_TO_CANCEL)
        event = _progress(name, code, {"corr_id": operator.corr_id})
        why = f"{name} has no download to cancel" if known is None else f"{name} is {told(known)}; nothing changed"
        return Decision(name, f"{code}: {why}", (), (event,), code)
    if known is not None:
        return Decision(name, f"nothing changed: {name} is {told(known)}")
    shared = _shared(name, digests, view)
    ends = _cancellation(name, is_wanted=bool(active) or not view.wanted.isdisjoint(digests), ends=bool(ending))
    message = f"{ends}{_going_on(Deed.CANCEL, shared)}"
    paused = view.given(DirectiveKind.PAUSE, name)
    drops = () if paused is None else (DropDirective(paused.kind, paused.subject),)
    status = _status_of(Happening.CANCEL_ASKED)
    events = tuple(_progress(owner, status, _facts(job)) for job in active for owner in _heard_by(name, view))
    decision = _put(DirectiveKind.CANCEL, name, digests, view, operator, message, drops, events)
    return replace(decision, ends=ending)


def _status_of(happening: Happening) -> str:
    (status,) = TABLE[happening].statuses
    return status.value


def _shared(name: str, digests: frozenset[Digest], view: View) -> Mapping[Digest, tuple[str, ...]]:
    """The other objects, by digest, for which a download goes on when `name` wants it no more."""
    weights = () if view.desired is None or "/" not in name else view.desired.weights()
    found: dict[Digest, tuple[str, ...]] = {}
    for spec in weights:
        for digest in sorted(digests.intersection(file.digest for file in spec.files)):
            if spec.ref != name and not _rests(spec.ref, digest, view):
                found[digest] = (*found.get(digest, ()), spec.ref)
    return found


def _kept(name: str, view: View) -> frozenset[Digest]:
    """What other objects declare and have not canceled, whether or not they rest: what it has stays."""
    weights = () if view.desired is None or "/" not in name else view.desired.weights()
    files = ((spec.ref, file.digest) for spec in weights if spec.ref != name for file in spec.files)
    return frozenset(digest for ref, digest in files if not _is_canceled(ref, digest, view))


def _is_canceled(ref: str, digest: Digest, view: View) -> bool:
    canceled = view.given(DirectiveKind.CANCEL, ref)
    return canceled is not None and digest in canceled.digests


def _rests(ref: str, digest: Digest, view: View) -> bool:
    return _is_canceled(ref, digest, view) or any(
        view.given(kind, ref) for kind in (DirectiveKind.PAUSE, DirectiveKind.SUSPEND)
    )


def _going_on(deed: Deed, shared: Mapping[Digest, tuple[str, ...]]) -> str:
    if not shared:
        return ""
    owners = sorted({owner for each in shared.values() for owner in each})
    want = "wants" if len(owners) == 1 else "want"
    which = next(iter(shared)) if len(shared) == 1 else "DIGEST"
    return f"; but what {', '.join(owners)} {want}, too, goes on: `reconcile {deed} {which}` does it for all"


def _cancellation(name: str, *, is_wanted: bool, ends: bool) -> str:
    """`ends`: whether anything of it does; the rest goes on for others."""
    if not is_wanted:
        return f"removing the partial download of {name}, which nothing wants"
    if not ends:
        return f"canceling the download of {name}"
    return (
        f"canceling the download of {name}; what it has is removed, and it is not tried again "
        f"before its declaration changes or `reconcile resume {name}`"
    )


def _heard_by(name: str, view: View) -> tuple[str, ...]:
    """Whom a cancellation concerns: the object that was named, or all that want the digest."""
    if "/" in name:
        return (name,)
    weights = () if view.desired is None else view.desired.weights()
    owners = tuple(spec.ref for spec in weights if any(file.digest == name for file in spec.files))
    return owners or (name,)


def _download(name: str, view: View) -> frozenset[Digest]:
    """The digests that a download of `name` is about."""
    if "/" not in name:
        return frozenset({Digest(name)})
    return view.declared(name)


def _confirm(subject: str, view: View, operator: Operator) -> Decision:
    withheld = view.snapshot.facts.get(WITHHELD, "")
    known = view.given(DirectiveKind.CONFIRM, subject)
    if known is not None:
        return Decision(subject, f"nothing changed: these deletions are {told(known)}")
    if not withheld:
        raise UnsafePlanError(
            "no deletion is withheld now, so there is nothing to confirm",
            reason=STALE,
            hint="`reconcile --dry-run` shows what would be deleted, and what it waits for",
        )
    if subject != withheld:
        raise UnsafePlanError(
            f"the confirmation is stale: other deletions are withheld now than those of {subject:.64}",
            reason=STALE,
            hint=f"look at the plan again, and if exactly that is wanted: reconcile confirm {withheld}",
        )
    message = "confirmed; exactly these deletions go on"
    return _put(DirectiveKind.CONFIRM, subject, frozenset(), view, operator, message)


def _load(subject: str, view: View, operator: Operator) -> Decision:
    """Given again it counts from now: a slot whose launches failed is tried once more."""
    name = _process_slot(subject, view)
    drops = _dropped(DirectiveKind.UNLOAD, name, view)
    put = PutDirective(Directive(DirectiveKind.LOAD, name, (), operator.by, operator.at, operator.reason))
    down = view.given(DirectiveKind.DOWN, NODE)
    later = "" if down is None else f"; but the node is {told(down)}, and `reconcile resume` ends that"
    return Decision(name, f"loading {name}: its process is started if none runs{later}", (*drops, put))


def _unload(subject: str, view: View, operator: Operator) -> Decision:
    name = _process_slot(subject, view)
    drops = _dropped(DirectiveKind.LOAD, name, view)
    message = f"unloading {name}: its process is stopped, and not started before `reconcile load {name}`"
    return _put(DirectiveKind.UNLOAD, name, frozenset(), view, operator, message, drops)


def _down(subject: str, view: View, operator: Operator) -> Decision:
    del subject
    message = "stopping the processes of all slots until the next `reconcile`, start of `serve` or `reconcile resume`"
    return _put(DirectiveKind.DOWN, NODE, frozenset(), view, operator, message)


def _process_slot(subject: str, view: View) -> str:
    name = object_named(subject, view.refs, ("slots",))
    slot = None if view.desired is None else view.desired.slots.get(name.removeprefix("slots/"))
    if slot is not None and slot.driver is Driver.LINK:
        raise StalledError(
            f"{name} has no process: its driver is link, which shows files",
            reason="NoProcess",
            hint=f"`reconcile suspend {name}` keeps the link as it is",
        )
    return name


def _dropped(kind: DirectiveKind, subject: str, view: View) -> tuple[DropDirective, ...]:
    return () if view.given(kind, subject) is None else (DropDirective(kind, subject),)


def _put(  # noqa: PLR0913, PLR0917 — each is one part of the decision
    kind: DirectiveKind,
    subject: str,
    digests: Iterable[Digest],
    view: View,
    operator: Operator,
    message: str,
    drops: tuple[DropDirective, ...] = (),
    events: tuple[EventDraft, ...] = (),
) -> Decision:
    """The directive holds; one that holds already is replaced only for another reason."""
    known = view.given(kind, subject)
    if known is not None and not drops and operator.reason in ("", known.reason):
        return Decision(subject, f"nothing changed: {subject} is {told(known)}")
    put = PutDirective(Directive(kind, subject, tuple(sorted(digests)), operator.by, operator.at, operator.reason))
    return Decision(subject, message, (*drops, put), events)


def _facts(job: Job) -> Mapping[str, JsonValue]:
    return {"kind": job.kind.value, "corr_id": job.corr_id, "sha256": job.digest}


def _progress(name: str, status: str, facts: Mapping[str, JsonValue]) -> EventDraft:
    return EventDraft(Topic.DOWNLOAD_PROGRESS, {"id": name, "status": status, **facts})


_DECISIONS: Mapping[Deed, Callable[[str, View, Operator], Decision]] = {
    Deed.SUSPEND: _suspend,
    Deed.RESUME: _resume,
    Deed.PAUSE: _pause,
    Deed.CANCEL: _cancel,
    Deed.CONFIRM: _confirm,
    Deed.LOAD: _load,
    Deed.UNLOAD: _unload,
    Deed.DOWN: _down,
}
