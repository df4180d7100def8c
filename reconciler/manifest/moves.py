"""Renames that the manifest tells of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from reconciler.core.desired import Kind, Move
from reconciler.core.names import name_problem, slot_name_problem
from reconciler.manifest.fields import MOVE_FROM, MOVE_TO
from reconciler.manifest.layers import Hidden
from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.problems import Problems, Reason, shown
from reconciler.manifest.shapes import Field, Found

_Steps = dict[str, tuple[Found, ScalarNode]]
"""By the reference it is moved from: the entry, and what it is moved to."""

_SECTIONS = {kind.section: kind for kind in Kind}


def read_moves(
    entries: Iterable[Found], declared: Collection[str], hidden: Hidden, problems: Problems
) -> tuple[Move, ...]:
    """The moves, each to something declared: where a thing moved twice, both lead to its last name.

    `declared` are references such as `models/new`.
    """
    steps: _Steps = {}
    for entry in entries:
        source, target = entry.get(MOVE_FROM), entry.get(MOVE_TO)
        if source is None or target is None:
            continue
        if not _are_references(entry, source, target, problems):
            continue
        first = steps.setdefault(source.text, (entry, target))[0]
        if first is not entry:
            _add_second(entry, source, first, problems)
        elif source.text in declared:
            message = f"{shown(source.text)} is still declared, so it was not moved"
            _add(entry, MOVE_FROM, source, Reason.CONFLICT, message, problems)
    _check_ends(steps, declared, hidden, problems)
    ends = _ends(steps, problems)
    return tuple(Move(source, end) for source, end in ends.items() if end is not None and end in declared)


def check_not_moved(models: Mapping[str, Found], moves: Iterable[Move], problems: Problems) -> None:
    """No model of a later layer has the name of something that an earlier one says was moved away."""
    targets = {move.source: move.target for move in moves}
    for name, found in models.items():
        ref = f"{Kind.MODEL.section}/{name}"
        if ref in targets:
            message = f"the name is taken: {shown(ref)} was moved to {shown(targets[ref])}"
            problems.add(found.origin, found.at, Reason.CONFLICT, message)


def _check_ends(steps: _Steps, declared: Collection[str], hidden: Hidden, problems: Problems) -> None:
    """Every step leads to something declared or to another step, or that is reported."""
    for entry, target in steps.values():
        ref = target.text
        if ref not in steps and ref not in declared and not hidden.may_declare(ref.partition("/")[2]):
            message = f"wanted something that is declared, got {shown(ref)}"
            _add(entry, MOVE_TO, target, Reason.DANGLING_REFERENCE, message, problems)


def _ends(steps: _Steps, problems: Problems) -> dict[str, str | None]:
    """Where each source is now; None where that is nowhere, because the moves go in a circle."""
    ends: dict[str, str | None] = {}
    for source in steps:
        passed: dict[str, None] = {}
        ref = source
        while ref in steps and ref not in ends and ref not in passed:
            passed[ref] = None
            ref = steps[ref][1].text
        if ref in passed:
            _add_circle(ref, list(passed), steps, problems)
        end = None if ref in passed else ends.get(ref, ref)
        ends.update(dict.fromkeys(passed, end))
    return ends


def _add_circle(start: str, passed: list[str], steps: _Steps, problems: Problems) -> None:
    circle = passed[passed.index(start) :]
    message = f"the moves go in a circle: {' → '.join(shown(ref) for ref in [*circle, start])}"
    for ref in circle:
        entry, target = steps[ref]
        _add(entry, MOVE_TO, target, Reason.CYCLE, message, problems)


def _are_references(entry: Found, source: ScalarNode, target: ScalarNode, problems: Problems) -> bool:
    source_kind = _kind(entry, MOVE_FROM, source, problems)
    target_kind = _kind(entry, MOVE_TO, target, problems)
    if source_kind is None or target_kind is None:
        return False
    if source_kind is target_kind:
        return True
    message = f"wanted {source_kind.section}/NAME, as it was before, got {shown(target.text)}"
    _add(entry, MOVE_TO, target, Reason.BAD_VALUE, message, problems)
    return False


def _kind(entry: Found, field: Field[ScalarNode], node: ScalarNode, problems: Problems) -> Kind | None:
    section, _, name = node.text.partition("/")
    kind = _SECTIONS.get(section)
    problem = slot_name_problem(name) if kind is Kind.SLOT else name_problem(name)
    if kind is not None and problem is None:
        return kind
    message = f"wanted models/NAME, adapters/NAME or slots/NAME, got {shown(node.text)}"
    _add(entry, field, node, Reason.BAD_VALUE, message, problems)
    return None


def _add_second(entry: Found, source: ScalarNode, first: Found, problems: Problems) -> None:
    where = first.origin.position(first.held[MOVE_FROM.name].node)
    _add(entry, MOVE_FROM, source, Reason.CONFLICT, f"it is already moved at {where}", problems)


def _add(
    entry: Found, field: Field[ScalarNode], node: ScalarNode, reason: Reason, message: str, problems: Problems
) -> None:
    problems.add(entry.origin.below(field.name), node, reason, message)
