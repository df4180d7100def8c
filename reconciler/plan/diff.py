"""Declared models and adapters against registered ones: entries to write and remove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.core.action import Action
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.entry import Entry, EntryFile, EntrySpec, FileSet, entry_spec, file_set
from reconciler.core.observed import EntryObserved, ObservedState
from reconciler.plan import steps

PREVIOUS_REMEMBERED = 16
# More than anyone keeps; entries stay small and raising `pruning.keep` later finds its history.


@dataclass(frozen=True, slots=True)
class Wanted:
    """A declared model or adapter as an entry."""

    spec: EntrySpec
    files: FileSet


def wanted_entries(desired: DesiredState) -> Mapping[str, Wanted]:
    """By reference, models before adapters, each sorted by name."""
    found: dict[str, Wanted] = {}
    for weights in desired.weights():
        spec = entry_spec(weights)
        found[spec.ref] = Wanted(spec, file_set(spec.files))
    return found


def renames(wanted: Mapping[str, Wanted], desired: DesiredState, observed: ObservedState) -> Mapping[str, str]:
    """New reference → the registered one it continues: said by `moved`, or the same files under a new name."""
    found: dict[str, str] = {}
    gone = {ref: seen.entry for ref, seen in observed.entries.items() if ref not in wanted}
    for move in desired.moves:
        is_new = move.target in wanted and move.target not in observed.entries and move.target not in found
        if is_new and move.source in gone:
            found[move.target] = move.source
            del gone[move.source]
    by_content: dict[tuple[str, tuple[EntryFile, ...]], list[str]] = {}
    for ref in sorted(gone, reverse=True):
        spec = gone[ref].spec
        by_content.setdefault((spec.kind, spec.files), []).append(ref)
    for ref, want in wanted.items():
        if ref not in observed.entries and ref not in found:
            candidates = by_content.get((want.spec.kind, want.spec.files))
            if candidates:
                found[ref] = candidates.pop()
    return found


def entry_writes(
    wanted: Mapping[str, Wanted],
    renamed: Mapping[str, str],
    observed: ObservedState,
    pending: Mapping[Digest, str],
) -> Iterator[Action]:
    """Entries that are missing, different or damaged; `pending` is digest → the job that brings it.

    An adapter waits for its base model as well, with which it is compared before it is registered,
    and compared anew when that has other files.
    """
    written: dict[str, str] = {}
    for ref, want in wanted.items():
        seen = observed.entries.get(ref)
        origin = observed.entries.get(renamed[ref]) if ref in renamed else None
        why = _why_write(want, seen, renamed.get(ref)) or _why_compare(want, wanted, observed)
        if why is None:
            continue
        known = seen or origin
        past = None if known is None else known.entry
        action = steps.write_entry(
            want.spec,
            want.files,
            previous_sets(past, want.files),
            reason=why[0],
            message=why[1],
            depends_on=tuple(
                dict.fromkeys((*jobs_for(want.files, pending), *_base_first(want, wanted, written, pending)))
            ),
            renamed_from=renamed.get(ref),
        )
        written[ref] = action.id
        yield action


def _base_first(
    want: Wanted, wanted: Mapping[str, Wanted], written: Mapping[str, str], pending: Mapping[Digest, str]
) -> tuple[str, ...]:
    base = f"models/{want.spec.base}"
    if want.spec.base is None or base not in wanted:
        return ()
    return (written[base],) if base in written else jobs_for(wanted[base].files, pending)


def previous_sets(past: Entry | None, files: FileSet) -> tuple[FileSet, ...]:
    """The distinct earlier file sets once `files` is current, newest first."""
    if past is None:
        return ()
    earlier = (file_set(past.spec.files), *past.previous)
    kept: list[FileSet] = []
    seen = {files.digests}
    for old in earlier:
        if old.digests not in seen:
            seen.add(old.digests)
            kept.append(old)
    return tuple(kept[:PREVIOUS_REMEMBERED])


def _why_write(want: Wanted, seen: EntryObserved | None, renamed_from: str | None) -> tuple[str, str] | None:
    if seen is None:
        return ("Renamed", f"was {renamed_from}") if renamed_from else ("New", "not registered yet")
    if seen.entry.spec.files != want.spec.files:
        return "Changed", "its files are other ones now"
    if seen.entry.spec != want.spec:
        return "Changed", "its metadata changed"
    if not seen.generation_intact:
        return "Drifted", "its view generation is incomplete on disk"
    if seen.view != want.files.id and want.spec.ref.startswith("models/"):
        return "Drifted", "its view does not link to its generation"
    return None if seen.record_present else ("Drifted", "its model record is missing")


def _why_compare(want: Wanted, wanted: Mapping[str, Wanted], observed: ObservedState) -> tuple[str, str] | None:
    base = f"models/{want.spec.base}"
    if want.spec.base is None or base not in wanted or base not in observed.entries:
        return None
    if observed.entries[base].entry.spec.files == wanted[base].spec.files:
        return None
    return "BaseChanged", f"{base} has other files now, with which it is compared"


def entry_removals(
    wanted: Mapping[str, Wanted],
    renamed: Mapping[str, str],
    observed: ObservedState,
    users: Mapping[str, tuple[str, ...]],
    served: frozenset[str],
) -> Iterator[Action]:
    """Entries nobody declares any more.

    `users` is reference → the actions after which slots no longer serve it; what `served` holds is served on.
    """
    continued = {old: new for new, old in renamed.items()}
    pinned = pinned_refs(observed)
    declared = {digest for want in wanted.values() for digest in want.spec.digests}
    for ref in sorted(observed.entries):
        if ref in wanted or ref in pinned or ref in served:
            continue
        entry = observed.entries[ref].entry
        after = users.get(ref, ())
        if ref in continued:
            new = continued[ref]
            yield steps.remove_entry(
                entry.spec,
                reason="Renamed",
                message=f"goes on as {new}",
                depends_on=(steps.write_entry_id(new, wanted[new].files.id), *after),
            )
        elif entry.spec.digests <= declared:
            yield steps.remove_entry(
                entry.spec,
                reason="NameOnly",
                message="no manifest declares the name; its bytes are declared under another",
                depends_on=after,
            )
        else:
            yield steps.remove_entry(
                entry.spec, reason="Undeclared", message="no manifest declares it", depends_on=after
            )


def pinned_refs(observed: ObservedState) -> frozenset[str]:
    """References an operator pinned: their entries stay even when nothing declares them."""
    return frozenset(d.subject for d in observed.directives if d.kind is DirectiveKind.PIN and "/" in d.subject)


def jobs_for(files: FileSet, pending: Mapping[Digest, str]) -> tuple[str, ...]:
    """The jobs that bring what of `files` is not there yet."""
    return tuple(dict.fromkeys(pending[digest] for _, digest in files.files if digest in pending))
