"""What an operator means by a name or a digest."""

from __future__ import annotations

from reconciler.core.digest import Digest, is_digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError
from reconciler.core.history import HistoryRow
from reconciler.core.observed import ObservedState, Place

MIN_PREFIX = 8
# As with git: eight hexadecimal digits are unique in any store that fits on a disk, and easy to copy.


def pinned(subject: str, observed: ObservedState, at: Directive) -> Directive:
    """The pin of what `subject` names; `at` carries who and when. Raises StalledError (`NoSuchObject`)."""
    ref = _entry_ref(subject, observed)
    if ref is not None:
        digests = tuple(sorted(observed.entries[ref].entry.spec.digests))
        return Directive(DirectiveKind.PIN, ref, digests, at.by, at.at)
    digest = _digest(subject, observed)
    if digest is None:
        raise _unknown(subject, "models, adapters and blobs", "reconcile get models")
    return Directive(DirectiveKind.PIN, digest, (digest,), at.by, at.at)


def unpinned(subject: str, observed: ObservedState) -> Directive:
    """The pin that `subject` names. Raises StalledError (`NoSuchObject`)."""
    wanted = {subject, f"models/{subject}", f"adapters/{subject}", subject.removeprefix("sha256:").lower()}
    for directive in observed.directives:
        if directive.kind is DirectiveKind.PIN and (directive.subject in wanted or _starts(directive.subject, subject)):
            return directive
    raise _unknown(subject, "pins", "reconcile get directives")


def undeleted(subject: str, observed: ObservedState, history: tuple[HistoryRow, ...], at: Directive) -> Directive:
    """The undelete of what `subject` named before it was quarantined. Raises StalledError (`NoSuchObject`)."""
    held = {d for d, blob in observed.blobs.items() if blob.place is Place.QUARANTINE and blob.row is not None}
    digest = _digest(subject, observed)
    if digest is not None and digest in held:
        return Directive(DirectiveKind.UNDELETE, digest, (digest,), at.by, at.at)
    refs = {subject, f"models/{subject}", f"adapters/{subject}"}
    rows = [row for row in history if row.digest in held and not refs.isdisjoint(row.names)]
    if not rows:
        raise _unknown(subject, "quarantined blobs", "reconcile get history")
    digests = {row.digest for row in rows if row.digest is not None}
    ref = next(name for name in rows[0].names if name in refs)
    return Directive(DirectiveKind.UNDELETE, ref, tuple(sorted(digests)), at.by, at.at)


def chosen(subjects: tuple[str, ...], observed: ObservedState) -> frozenset[Digest] | None:
    """The digests that `subjects` name; None for no subjects: all. Raises StalledError (`NoSuchObject`)."""
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


def _entry_ref(subject: str, observed: ObservedState) -> str | None:
    for ref in (subject, f"models/{subject}", f"adapters/{subject}"):
        if ref in observed.entries:
            return ref
    return None


def _digest(subject: str, observed: ObservedState) -> Digest | None:
    """The one owned digest that `subject` is or abbreviates. Raises StalledError (`Ambiguous`)."""
    text = subject.removeprefix("sha256:").lower()
    if is_digest(text):
        digest = Digest(text)
        blob = observed.blobs.get(digest)
        return digest if blob is not None and blob.row is not None else None
    found = [d for d, blob in observed.blobs.items() if blob.row is not None and _starts(d, text)]
    if len(found) > 1:
        raise StalledError(
            f"{subject!r} abbreviates {len(found)} digests", reason="Ambiguous", hint="give more digits of it"
        )
    return found[0] if found else None


def _starts(digest: str, prefix: str) -> bool:
    return len(prefix) >= MIN_PREFIX and digest.startswith(prefix.removeprefix("sha256:").lower())


def _unknown(subject: str, among: str, command: str) -> StalledError:
    return StalledError(
        f"{subject!r} names nothing among the {among} of this machine",
        reason="NoSuchObject",
        hint=f"see `{command}`",
    )
