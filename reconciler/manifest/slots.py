"""Declared slots: what each of them serves, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.desired import AdapterUse, Driver, Load, ModelSpec, Role, Runtime, SlotSpec
from reconciler.manifest.commands import check_command
from reconciler.manifest.fields import (
    BASE,
    COMMAND,
    DEFAULT,
    DRIVER,
    ENV,
    HEALTH,
    HEALTH_TIMEOUT,
    IDLE_TTL,
    LOAD,
    PORT,
    RUNTIME,
    SLOT_ADAPTERS,
    SLOT_MODEL,
    USE_NAME,
    USE_SCALE,
)
from reconciler.manifest.layers import NOTHING, Hidden
from reconciler.manifest.problems import Problems, Reason, shown
from reconciler.manifest.references import check_declared
from reconciler.manifest.shapes import Field, Found

_RUNTIME = Runtime(("-",))
_FOR_PROCESSES = (COMMAND, ENV, PORT, HEALTH, HEALTH_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Declared:
    """What slots may refer to."""

    models: Mapping[str, Found]
    adapters: Mapping[str, Found]
    specs: Mapping[str, ModelSpec]
    """The models that are declared well."""
    hidden: Hidden
    problems: Problems


def slot_specs(slots: Mapping[str, Found], declared: Declared) -> dict[str, SlotSpec]:
    """The declared slots; what is wrong with them is reported."""
    _check_defaults(slots.values(), declared.problems)
    _check_ports(slots.values(), declared.problems)
    specs = ((name, _slot_spec(name, slot, declared)) for name, slot in slots.items())
    return {name: spec for name, spec in specs if spec is not None}


def _slot_spec(name: str, slot: Found, declared: Declared) -> SlotSpec | None:
    check_declared(slot, SLOT_MODEL, "model", declared.models, declared.hidden, declared.problems)
    runtime = slot.value(RUNTIME, NOTHING)
    driver = runtime.value(DRIVER, Driver.LINK)
    is_sure = DRIVER.name not in runtime.broken and RUNTIME.name not in slot.broken
    adapters = _adapters(slot, declared)
    if is_sure and driver is Driver.LINK:
        _check_link(slot, runtime, declared.problems)
    elif is_sure:
        _check_process(slot, runtime, adapters, declared)
    model, command = slot.get(SLOT_MODEL), runtime.get(COMMAND)
    if model is None or (driver is Driver.PROCESS and command is None):
        return None
    return SlotSpec(
        name,
        model.text,
        driver,
        slot.value(DEFAULT, otherwise=False),
        adapters,
        slot.value(LOAD, Load.EAGER),
        slot.get(IDLE_TTL),
        None if driver is Driver.LINK or command is None else _runtime(runtime, command),
    )


def _runtime(runtime: Found, command: tuple[str, ...]) -> Runtime:
    health = runtime.get(HEALTH)
    return Runtime(
        command,
        tuple(sorted(runtime.value(ENV, {}).items())),
        runtime.get(PORT),
        _RUNTIME.health if health is None else health.text,
        runtime.value(HEALTH_TIMEOUT, _RUNTIME.health_timeout_s),
    )


# ---- adapters ----------------------------------------------------------------------------------


def _adapters(slot: Found, declared: Declared) -> tuple[AdapterUse, ...]:
    uses: dict[str, AdapterUse] = {}
    model = slot.get(SLOT_MODEL)
    for use in slot.value(SLOT_ADAPTERS, ()):
        name = use.get(USE_NAME)
        if name is None:
            continue
        check_declared(use, USE_NAME, "adapter", declared.adapters, declared.hidden, declared.problems)
        if name.text in uses:
            message = f"the adapter {shown(name.text)} is there already"
            declared.problems.add(use.origin.below(USE_NAME.name), name, Reason.DUPLICATE_KEY, message)
        base = declared.adapters[name.text].get(BASE) if name.text in declared.adapters else None
        if base is not None and model is not None and base.text != model.text:
            message = f"the adapter {shown(name.text)} is for {shown(base.text)}, the slot serves {shown(model.text)}"
            hint = "an adapter works with the model it was made from, and with no other"
            declared.problems.add(use.origin.below(USE_NAME.name), name, Reason.CONFLICT, message, hint)
        uses.setdefault(name.text, AdapterUse(name.text, use.value(USE_SCALE, 1.0)))
    return tuple(uses.values())


# ---- drivers -----------------------------------------------------------------------------------


def _check_link(slot: Found, runtime: Found, problems: Problems) -> None:
    """Nothing is said of a process where there is none, or that is reported."""
    hint = "add `driver: process` below `runtime`, or remove it"
    for found, fields in ((runtime, _FOR_PROCESSES), (slot, (SLOT_ADAPTERS, LOAD, IDLE_TTL))):
        for field in fields:
            held = found.held.get(field.name)
            if held is not None:
                message = f"{field.name!r} is for slots with a process; this one is files only"
                problems.add(held.origin.below(field.name), held.key, Reason.CONFLICT, message, hint)


def _check_process(slot: Found, runtime: Found, adapters: tuple[AdapterUse, ...], declared: Declared) -> None:
    problems = declared.problems
    command = runtime.held.get(COMMAND.name)
    if command is not None:
        origin = command.origin.below(COMMAND.name)
        check_command(command.value, command.node, origin, adapters, problems)
        _check_projector(slot, runtime, declared)
    elif runtime.lacks(COMMAND):
        hint = "add `command:` with the program and its arguments"
        problems.add(runtime.origin, runtime.at, Reason.MISSING_KEY, "a process needs a command", hint)
    health = runtime.get(HEALTH)
    if health is not None and not health.text.startswith("/"):
        message = f"wanted a path that begins with '/', got {shown(health.text)}"
        problems.add(runtime.origin.below(HEALTH.name), health, Reason.BAD_VALUE, message)
    _check_load(slot, runtime, problems)


def _check_projector(slot: Found, runtime: Found, declared: Declared) -> None:
    held, model = runtime.held[COMMAND.name], slot.get(SLOT_MODEL)
    spec = declared.specs.get(model.text) if model is not None else None
    if spec is None or not any("{mmproj}" in word for word in held.value):
        return
    if not any(file.role is Role.MMPROJ for file in spec.files):
        message = f"{shown(spec.name)} has no file for {{mmproj}}"
        hint = f"give a file of it the role mmproj, or remove {{mmproj}} from the command of {slot.origin.path}"
        declared.problems.add(held.origin.below(COMMAND.name), held.node, Reason.BAD_VALUE, message, hint)


def _check_load(slot: Found, runtime: Found, problems: Problems) -> None:
    """What must be seen to be unloaded or loaded can be seen."""
    load = slot.value(LOAD, Load.EAGER)
    has_port = not runtime.lacks(PORT)
    if load is Load.ON_DEMAND and not has_port:
        hint = "add `port:` below `runtime`: the first connection to it starts the process"
        _add_at(slot, LOAD, "on_demand needs a stable port", hint, problems)
    if slot.held.get(IDLE_TTL.name) is None or LOAD.name in slot.broken:
        return
    if load is Load.EAGER:
        hint = "set `load: on_demand` or `load: manual`, or remove it"
        _add_at(slot, IDLE_TTL, "an eager slot always runs, so it can't be unloaded when idle", hint, problems)
    elif not has_port:
        hint = "add `port:` below `runtime`: what goes through it tells whether the slot is idle"
        _add_at(slot, IDLE_TTL, "idle_ttl needs a stable port", hint, problems)


def _add_at(found: Found, field: Field[object], message: str, hint: str, problems: Problems) -> None:
    held = found.held[field.name]
    problems.add(held.origin.below(field.name), held.node, Reason.CONFLICT, message, hint)


# ---- what slots share --------------------------------------------------------------------------


def _check_defaults(slots: Iterable[Found], problems: Problems) -> None:
    defaults = [slot.held[DEFAULT.name] for slot in slots if slot.value(DEFAULT, otherwise=False)]
    for held in defaults[1:]:
        first = defaults[0].origin.position(defaults[0].node)
        message = f"at most one slot is the default, and one is already at {first}"
        problems.add(held.origin.below(DEFAULT.name), held.node, Reason.CONFLICT, message)


def _check_ports(slots: Iterable[Found], problems: Problems) -> None:
    taken: dict[int, str] = {}
    for slot in slots:
        held = slot.value(RUNTIME, NOTHING).held.get(PORT.name)
        if held is None:
            continue
        first = taken.setdefault(held.value, position := held.origin.position(held.node))
        if first != position:
            message = f"port {held.value} is that of another slot already, at {first}"
            problems.add(held.origin.below(PORT.name), held.node, Reason.CONFLICT, message)
