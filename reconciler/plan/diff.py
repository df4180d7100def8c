"""Declared objects against registered ones: entries to write and remove, slots to switch and remove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.core.action import Action
from reconciler.core.desired import DesiredState, SlotSpec
from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.entry import Entry, EntryFile, EntrySpec, FileSet, entry_spec, file_set
from reconciler.core.observed import EntryObserved, ObservedState
from reconciler.core.slot import SlotRecord, SlotTarget
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
    """Entries that are missing, different or damaged; `pending` is digest → the job that brings it."""
    for ref, want in wanted.items():
        seen = observed.entries.get(ref)
        origin = observed.entries.get(renamed[ref]) if ref in renamed else None
        why = _why_write(want, seen, renamed.get(ref))
        if why is None:
            continue
        known = seen or origin
        past = None if known is None else known.entry
        yield steps.write_entry(
            want.spec,
            want.files,
            previous_sets(past, want.files),
            reason=why[0],
            message=why[1],
            depends_on=_jobs(want.files, pending),
            renamed_from=renamed.get(ref),
        )


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


def entry_removals(
    wanted: Mapping[str, Wanted],
    renamed: Mapping[str, str],
    observed: ObservedState,
    slot_changes: Mapping[str, str],
) -> Iterator[Action]:
    """Entries nobody declares any more; `slot_changes` is slot → the action after which it names another model."""
    continued = {old: new for new, old in renamed.items()}
    pinned = pinned_refs(observed)
    users = _slot_users(observed, slot_changes)
    declared = {digest for want in wanted.values() for digest in want.spec.digests}
    for ref in sorted(observed.entries):
        if ref in wanted or ref in pinned:
            continue
        entry = observed.entries[ref].entry
        after = tuple(users.get(entry.spec.name, ())) if ref.startswith("models/") else ()
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


@dataclass(frozen=True, slots=True)
class SlotDiff:
    """What happens to slots."""

    actions: tuple[Action, ...]
    after: Mapping[str, SlotRecord]
    """Every slot's record once all actions are done."""
    changes: Mapping[str, str]
    """Slot as it is called now → the action after which its present targets are released."""


def slot_diff(
    desired: DesiredState,
    wanted: Mapping[str, Wanted],
    observed: ObservedState,
    written: Mapping[str, str],
    pending: Mapping[Digest, str],
) -> SlotDiff:
    """Slots to move, switch and remove.

    `written` is reference → the action that writes its entry, `pending` digest → the job that brings it.
    """
    actions: list[Action] = []
    changes: dict[str, str] = {}
    after: dict[str, SlotRecord] = {}
    records = {name: seen.record for name, seen in observed.slots.items()}
    linked = {name: seen.linked for name, seen in observed.slots.items()}
    moves = tuple(_slot_moves(desired, records))
    moved: dict[str, str] = {}
    for old, new in moves:
        action = steps.move_slot(old, new)
        actions.append(action)
        record = replace(records.pop(old), name=new)
        records[new] = record
        linked[new] = None if record.current is None else record.current.files.id  # moving links it anew
        changes[old] = moved[new] = action.id
    for name in sorted(desired.slots):
        spec = desired.slots[name]
        target = SlotTarget(spec.model, wanted[f"models/{spec.model}"].files)
        record = records.get(name, SlotRecord(name))
        why = _why_switch(spec, target, record, linked.get(name))
        if why is not None:
            # The entry waits for missing bytes; one that needs no writing leaves that to the slot.
            entry = written.get(f"models/{spec.model}")
            waits = (*_known(moved.get(name)), *(_known(entry) or _jobs(target.files, pending)))
            action = steps.switch_slot(name, target, reason=why[0], message=why[1], depends_on=waits)
            actions.append(action)
            changes[name] = action.id
            record = record.promoted(target)
        after[name] = record
    for name in sorted(records):
        if name not in desired.slots:
            action = steps.remove_slot(name)
            actions.append(action)
            changes[name] = action.id
    for old, new in moves:
        changes[old] = changes.get(new, changes[old])
    return SlotDiff(tuple(actions), after, changes)


def _slot_moves(desired: DesiredState, records: Mapping[str, SlotRecord]) -> Iterator[tuple[str, str]]:
    taken: set[str] = set()
    for move in desired.moves:
        if not move.source.startswith("slots/"):
            continue
        old, new = move.source.removeprefix("slots/"), move.target.removeprefix("slots/")
        if old not in records or old in desired.slots or new not in desired.slots or new in taken:
            continue
        # Both names with one record are a move that was cut short: doing it again is what ends it.
        if records.get(new) in (None, replace(records[old], name=new)):
            taken.add(new)
            yield old, new


def _why_switch(
    spec: SlotSpec, target: SlotTarget, record: SlotRecord, linked: Digest | None
) -> tuple[str, str] | None:
    current = record.current
    if current is None:
        return "New", f"serves {spec.model}"
    if current.files.id != target.files.id:
        was = f"from {current.model} " if current.model != spec.model else ""
        return "Changed", f"{was}to {spec.model}; what it served stays the rollback target"
    if current.model != spec.model:
        return "Renamed", f"the same files, now called {spec.model}"
    if record.candidate is not None:
        return "Drifted", f"a switch to {record.candidate.model} was cut short"
    return None if linked == target.files.id else ("Drifted", "its link does not show what its record says")


def _slot_users(observed: ObservedState, changes: Mapping[str, str]) -> Mapping[str, list[str]]:
    users: dict[str, list[str]] = {}
    for name in sorted(observed.slots):
        current = observed.slots[name].record.current
        if current is not None and name in changes:
            users.setdefault(current.model, []).append(changes[name])
    return users


def _jobs(files: FileSet, pending: Mapping[Digest, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pending[digest] for _, digest in files.files if digest in pending))


def _known(action_id: str | None) -> tuple[str, ...]:
    return () if action_id is None else (action_id,)
