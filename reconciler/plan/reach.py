"""Roots and what they reach: which digests and generations are alive, recomputed from scratch each time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.entry import Entry, FileSet, file_set
from reconciler.core.observed import ObservedState
from reconciler.core.slot import SlotRecord
from reconciler.plan.diff import Wanted, pinned_refs, previous_sets
from reconciler.plan.slots import SlotDiff

PROTECTING = (DirectiveKind.PIN, DirectiveKind.UNDELETE, DirectiveKind.SUSPEND)
"""What an operator wants kept, back, or left alone is not pruned."""


@dataclass(frozen=True, slots=True)
class Releases:
    """Which action ends each reference that exists now."""

    entries: Mapping[str, str]
    """Reference → the action that rewrites or removes its entry."""
    slots: Mapping[str, str]
    """Slot → the action that changes its record."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What is alive once the plan is done, and what must be done before the rest is dead."""

    digests: frozenset[Digest]
    generations: frozenset[Digest]
    digest_waits: Mapping[Digest, tuple[str, ...]]
    """Digests that something still names, and the actions after which nothing does."""
    generation_waits: Mapping[Digest, tuple[str, ...]]
    named_by: Mapping[Digest, tuple[str, ...]]
    """For the same digests: the references that name them until then."""


def reach(
    wanted: Mapping[str, Wanted],
    renamed: Mapping[str, str],
    observed: ObservedState,
    slots: SlotDiff,
    keep: int,
    releases: Releases,
) -> Reach:
    """Everything that manifests, slots, pins and kept revisions name; and what is only still named."""
    sets = [want.files for want in wanted.values()]
    sets += _staying(wanted, observed, slots.served())
    sets += [files for record in slots.after.values() for files in record.file_sets()]
    digests = {digest for files in sets for digest in files.digests}
    digests |= _kept(wanted, renamed, observed, keep)
    for directive in observed.directives:
        if directive.kind in PROTECTING:
            digests.update(directive.digests)
    generations = {files.id for files in sets}
    digest_waits: dict[Digest, tuple[str, ...]] = {}
    generation_waits: dict[Digest, tuple[str, ...]] = {}
    named_by: dict[Digest, tuple[str, ...]] = {}
    for ref, action_id, files in _held(observed, releases):
        for digest in files.digests - digests:
            digest_waits[digest] = (*digest_waits.get(digest, ()), action_id)
            named_by[digest] = (*named_by.get(digest, ()), ref)
        if files.id not in generations:
            generation_waits[files.id] = (*generation_waits.get(files.id, ()), action_id)
    return Reach(frozenset(digests), frozenset(generations), digest_waits, generation_waits, named_by)


def named_now(entries: Iterable[Entry], slots: Iterable[SlotRecord]) -> frozenset[Digest]:
    """The digests that registered entries and slot records name at this moment: the check before an unlink."""
    named: set[Digest] = set()
    for entry in entries:
        named |= entry.spec.digests
    for record in slots:
        for files in record.file_sets():
            named |= files.digests
    return frozenset(named)


def _staying(wanted: Mapping[str, Wanted], observed: ObservedState, served: frozenset[str]) -> list[FileSet]:
    """The entries that stay though nothing declares them: pinned, or served on."""
    return [
        file_set(observed.entries[ref].entry.spec.files)
        for ref in pinned_refs(observed) | served
        if ref in observed.entries and ref not in wanted
    ]


def _kept(wanted: Mapping[str, Wanted], renamed: Mapping[str, str], observed: ObservedState, keep: int) -> set[Digest]:
    if keep == 0:
        return set()
    kept: set[Digest] = set()
    for ref, want in wanted.items():
        seen = observed.entries.get(ref) or observed.entries.get(renamed.get(ref, ""))
        if seen is not None:
            for files in previous_sets(seen.entry, want.files)[:keep]:
                kept |= files.digests
    return kept


def _held(observed: ObservedState, releases: Releases) -> Iterable[tuple[str, str, FileSet]]:
    for ref, action_id in releases.entries.items():
        if ref in observed.entries:
            seen = observed.entries[ref]
            yield ref, action_id, file_set(seen.entry.spec.files)
            if seen.view not in (None, seen.entry.generation) and seen.view in observed.generations:
                yield ref, action_id, observed.generations[seen.view]  # a flip was cut short: people still see these
    for name, action_id in releases.slots.items():
        if name in observed.slots:
            for files in observed.slots[name].record.file_sets():
                yield f"slots/{name}", action_id, files
