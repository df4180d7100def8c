"""What an operator means by a name or a digest."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches

from reconciler.core.digest import Digest, is_digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError
from reconciler.core.history import HistoryRow
from reconciler.core.observed import ObservedState, Place

SECTIONS = ("models", "adapters", "slots")
NEAR_SHOWN = 3

MIN_PREFIX = 8
# As with git: eight hexadecimal digits are unique in any store that fits on a disk, and easy to copy.
_HEXADECIMAL = frozenset("0123456789abcdef")


def pinned(subject: str, observed: ObservedState, *, by: str, at: datetime) -> Directive:
    """The pin of what `subject` names. Raises StalledError (`NoSuchObject`, `Ambiguous`)."""
    ref = _entry_ref(subject, observed)
    if ref is not None:
        digests = tuple(sorted(observed.entries[ref].entry.spec.digests))
        return Directive(DirectiveKind.PIN, ref, digests, by, at)
    digest = _digest(subject, observed)
    if digest is None:
        raise _unknown(subject, "models, adapters and blobs", "reconcile get models")
    return Directive(DirectiveKind.PIN, digest, (digest,), by, at)


def unpinned(subject: str, observed: ObservedState) -> Directive:
    """The pin that `subject` names. Raises StalledError (`NoSuchObject`, `Ambiguous`)."""
    pins = {pin.subject: pin for pin in observed.directives if pin.kind is DirectiveKind.PIN}
    found = next((ref for ref in _refs(subject) if ref in pins), None)
    found = found or _abbreviated(subject, (Digest(name) for name in pins if is_digest(name)))
    if found is not None:
        return pins[found]
    held = {digest: pin for pin in pins.values() for digest in pin.digests}
    digest = _abbreviated(subject, held)
    if digest is None:
        raise _unknown(subject, "pins", "reconcile get directives")
    return held[digest]


def undeleted(
    subject: str, observed: ObservedState, history: tuple[HistoryRow, ...], *, by: str, at: datetime
) -> Directive:
    """The undelete of what `subject` named before it was quarantined.

    Raises StalledError (`NoSuchObject`, `Ambiguous`).
    """
    held = {d for d, blob in observed.blobs.items() if blob.place is Place.QUARANTINE and blob.row is not None}
    digest = _digest(subject, observed)
    if digest is not None and digest in held:
        return Directive(DirectiveKind.UNDELETE, digest, (digest,), by, at)
    refs = _refs(subject)
    rows = [row for row in history if row.digest in held and not set(refs).isdisjoint(row.names)]
    if not rows:
        raise _unknown(subject, "quarantined blobs", "reconcile get history")
    digests = {row.digest for row in rows if row.digest is not None}
    ref = next(name for name in rows[0].names if name in refs)
    return Directive(DirectiveKind.UNDELETE, ref, tuple(sorted(digests)), by, at)


def chosen(subjects: tuple[str, ...], observed: ObservedState) -> frozenset[Digest] | None:
    """The digests that `subjects` name; None for no subjects: all.

    Raises StalledError (`NoSuchObject`, `Ambiguous`).
    """
    if not subjects:
        return None
    found: set[Digest] = set()
    for subject in subjects:
        ref = _entry_ref(subject, observed)
        digest = None if ref is not None else _digest(subject, observed)
        if ref is not None:
            found |= observed.entries[ref].entry.spec.digests
        elif digest is not None:
            found.add(digest)
        else:
            raise _unknown(subject, "models, adapters and blobs", "reconcile get models")
    return frozenset(found)


def object_named(subject: str, known: Iterable[str], sections: tuple[str, ...] = SECTIONS) -> str:
    """The one reference among `known`, in one of `sections`, that `subject` is, with or without its section.

    Raises StalledError (`NoSuchObject` with what is near, `Ambiguous`).
    """
    return _named(subject, known, sections, _any_of(sections), _listed(sections))


def download_named(subject: str, known: Iterable[str], digests: Iterable[Digest]) -> str:
    """The model, adapter or digest whose download `subject` means.

    Raises StalledError (`NoSuchObject`, `Ambiguous`).
    """
    refs = frozenset(known)
    digest = None if any(ref in refs for ref in _refs(subject)) else _abbreviated(subject, digests)
    return digest or _named(subject, refs, SECTIONS[:2], "model, adapter or digest", _listed_digests(subject))


def _named(subject: str, known: Iterable[str], sections: tuple[str, ...], what: str, listed: str) -> str:
    refs = sorted(ref for ref in set(known) if ref.partition("/")[0] in sections)
    if subject in refs:
        return subject
    found = [ref for ref in refs if ref.partition("/")[2] == subject]
    if len(found) > 1:
        raise StalledError(
            f"{subject!r} names {len(found)} objects", reason="Ambiguous", hint=f"give one of {', '.join(found)}"
        )
    if found:
        return found[0]
    raise StalledError(
        f"{subject!r} names no {what} of this machine", reason="NoSuchObject", hint=_near(subject, refs) or listed
    )


def _any_of(sections: tuple[str, ...]) -> str:
    *others, last = (section.removesuffix("s") for section in sections)
    return f"{', '.join(others)} or {last}" if others else last


def _near(subject: str, refs: list[str]) -> str:
    """What may have been meant, the nearest first; empty if nothing is near."""
    names = {ref.partition("/")[2] for ref in refs}
    close = get_close_matches(subject.rpartition("/")[2], names, n=NEAR_SHOWN, cutoff=0.6)
    near = [ref for name in close for ref in refs if ref.partition("/")[2] == name]
    return f"did you mean {' or '.join(near)}?" if near else ""


def _listed(sections: tuple[str, ...]) -> str:
    return f"`reconcile {f'get {sections[0]}' if len(sections) == 1 else 'status'}` lists what there is"


def _listed_digests(subject: str) -> str:
    """Where to look for what `subject` may have been meant to be, and how many digits of a digest it takes."""
    digits = _digits(subject)
    if not digits or not _HEXADECIMAL.issuperset(digits):
        return _listed(SECTIONS[:2])
    if len(digits) < MIN_PREFIX:
        return f"a digest needs at least {MIN_PREFIX} of its digits; `reconcile get downloads` lists them"
    return "`reconcile get downloads` lists the digests that there are"


def _entry_ref(subject: str, observed: ObservedState) -> str | None:
    return next((ref for ref in _refs(subject) if ref in observed.entries), None)


def _digest(subject: str, observed: ObservedState) -> Digest | None:
    """The one owned digest that `subject` is or abbreviates. Raises StalledError (`Ambiguous`)."""
    return _abbreviated(subject, (d for d, blob in observed.blobs.items() if blob.row is not None))


def _abbreviated(subject: str, digests: Iterable[Digest]) -> Digest | None:
    """The one of `digests` that `subject` is or abbreviates. Raises StalledError (`Ambiguous`)."""
    digits = _digits(subject)
    if len(digits) < MIN_PREFIX:
        return None
    found = [digest for digest in digests if digest.startswith(digits)]
    if len(found) > 1:
        raise StalledError(
            f"{subject!r} abbreviates {len(found)} digests", reason="Ambiguous", hint="give more digits of it"
        )
    return found[0] if found else None


def _refs(subject: str) -> tuple[str, ...]:
    """The references that a name may stand for, the most likely first."""
    return (subject, f"models/{subject}", f"adapters/{subject}")


def _digits(subject: str) -> str:
    return subject.removeprefix("sha256:").lower()


def _unknown(subject: str, among: str, command: str) -> StalledError:
    return StalledError(
        f"{subject!r} names nothing among the {among} of this machine",
        reason="NoSuchObject",
        hint=f"see `{command}`",
    )
