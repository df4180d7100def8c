"""What refers to something else by name: slots and adapters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from reconciler.core.desired import Driver, SlotSpec
from reconciler.manifest.fields import BASE, DEFAULT, DRIVER, RUNTIME, SLOT_MODEL
from reconciler.manifest.layers import Hidden
from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.problems import Problems, Reason, shown
from reconciler.manifest.shapes import Field, Found


def check_bases(adapters: Mapping[str, Found], models: Collection[str], hidden: Hidden, problems: Problems) -> None:
    """Every adapter is for a declared model, or that is reported."""
    for adapter in adapters.values():
        _check_model(adapter, BASE, models, hidden, problems)


def slot_specs(
    slots: Mapping[str, Found], models: Collection[str], hidden: Hidden, problems: Problems
) -> dict[str, SlotSpec]:
    """The declared slots; what is wrong with their references is reported."""
    specs: dict[str, SlotSpec] = {}
    default: Found | None = None
    for name, slot in slots.items():
        _check_model(slot, SLOT_MODEL, models, hidden, problems)
        is_default = slot.value(DEFAULT, otherwise=False)
        if is_default and default is not None:
            _add_second_default(slot, default, problems)
        if is_default:
            default = default or slot
        model, runtime = slot.get(SLOT_MODEL), slot.get(RUNTIME)
        driver = runtime.value(DRIVER, Driver.LINK) if runtime else Driver.LINK
        if model is not None:
            specs[name] = SlotSpec(name, model.text, driver, is_default)
    return specs


def _check_model(
    found: Found, field: Field[ScalarNode], models: Collection[str], hidden: Hidden, problems: Problems
) -> None:
    model = found.get(field)
    if model is None or model.text in models or hidden.may_declare(model.text):
        return
    near = get_close_matches(model.text, models, n=1)
    hint = f"did you mean {near[0]!r}?" if near else None
    message = f"wanted the name of a declared model, got {shown(model.text)}"
    problems.add(found.origin.below(field.name), model, Reason.DANGLING_REFERENCE, message, hint)


def _add_second_default(slot: Found, first: Found, problems: Problems) -> None:
    held, first_held = slot.held[DEFAULT.name], first.held[DEFAULT.name]
    message = f"at most one slot is the default, and one is already at {first_held.origin.position(first_held.node)}"
    problems.add(slot.origin.below(DEFAULT.name), held.node, Reason.CONFLICT, message)
