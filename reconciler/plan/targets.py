"""What a declared slot is to serve: files, and how its process is started with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.core.desired import AdapterUse, Role, SlotSpec
from reconciler.core.entry import EntrySpec, entry_file
from reconciler.core.slot import AdapterTarget, Launch, SlotTarget
from reconciler.plan.diff import Wanted


def slot_target(spec: SlotSpec, wanted: Mapping[str, Wanted]) -> SlotTarget:
    """The model of `spec`, and its adapters, as they are declared now."""
    model = wanted[f"models/{spec.model}"]
    if spec.runtime is None:
        return SlotTarget(spec.model, model.files)
    launch = Launch(
        spec.runtime,
        entry_file(model.spec).path,
        _mmproj(model.spec),
        tuple(_adapter(use, wanted[f"adapters/{use.name}"]) for use in spec.adapters),
    )
    return SlotTarget(spec.model, model.files, launch)


def served_refs(target: SlotTarget) -> Iterator[str]:
    """The references of what `target` consists of."""
    yield f"models/{target.model}"
    for adapter in target.launch.adapters if target.launch is not None else ():
        yield f"adapters/{adapter.name}"


def _adapter(use: AdapterUse, wanted: Wanted) -> AdapterTarget:
    return AdapterTarget(use.name, wanted.files, entry_file(wanted.spec).path, use.scale)


def _mmproj(spec: EntrySpec) -> str | None:
    return next((file.path for file in spec.files if file.role is Role.MMPROJ), None)
