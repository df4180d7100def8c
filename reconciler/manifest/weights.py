"""Declared models and adapters, with what they inherit."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.desired import AdapterSpec, FileSpec, ModelSpec, Transfer
from reconciler.manifest.context import Context
from reconciler.manifest.fields import (
    ADOPT,
    ALPHA,
    BASE,
    FILES,
    LICENSE,
    NAME,
    PRIORITY,
    RANK,
)
from reconciler.manifest.files import read_files
from reconciler.manifest.policy_fields import IDLE_TIMEOUT, LABELS, PROVIDER, RETRIES, SEGMENTS
from reconciler.manifest.problems import Problems, Reason
from reconciler.manifest.shapes import Found

_TRANSFER = Transfer()
_PEFT_FILES = frozenset(["adapter_model.safetensors", "adapter_config.json"])


def model_spec(name: str, own: Found, context: Context) -> ModelSpec | None:
    """The model that `own` declares; None if something is wrong with it, which is then reported."""
    found = context.catalog.complete(own, context.problems)
    files = read_files(found, context) if found is not None else ()
    if found is None or not files:
        return None
    defaults = context.defaults
    return ModelSpec(
        name,
        files,
        provider=found.get(PROVIDER) or defaults.get(PROVIDER) or files[0].sources[0].scheme,
        license=found.get(LICENSE),
        display_name=found.get(NAME),
        labels=found.value(LABELS, defaults.value(LABELS, ())),
        transfer=_transfer(found, context),
        priority=found.value(PRIORITY, 0),
    )


def adapter_spec(name: str, found: Found, context: Context) -> AdapterSpec | None:
    """The adapter that `found` declares; None if something is wrong with it, which is then reported."""
    base = found.get(BASE)
    files = read_files(found, context)
    if base is None or not files:
        return None
    _check_adapter_files(found, files, context.problems)
    provider = files[0].sources[0].scheme
    alpha, rank = found.get(ALPHA), found.get(RANK)
    return AdapterSpec(name, base.text, files, provider, transfer=context.transfer, alpha=alpha, rank=rank)


def _check_adapter_files(found: Found, files: tuple[FileSpec, ...], problems: Problems) -> None:
    """An adapter with several files is a PEFT folder or has a single GGUF, or that is reported."""
    held = found.held.get(FILES.name)
    if held is None:
        return
    names = {file.path.rpartition("/")[2] for file in files}
    ggufs = [file for file in files if file.path.lower().endswith(".gguf")]
    if len(ggufs) != 1 and not names >= _PEFT_FILES:
        message = f"wanted {' and '.join(sorted(_PEFT_FILES))}, or a single GGUF file, got {', '.join(sorted(names))}"
        problems.add(held.origin.below(FILES.name), held.key, Reason.BAD_VALUE, message)


def transfer_defaults(defaults: Found) -> Transfer:
    """How the bytes of everything that does not say otherwise are fetched."""
    return Transfer(
        defaults.value(RETRIES, _TRANSFER.retries),
        defaults.value(IDLE_TIMEOUT, _TRANSFER.idle_timeout_s),
        segments=defaults.get(SEGMENTS),
    )


def _transfer(found: Found, context: Context) -> Transfer:
    adopt = found.get(ADOPT)
    return context.transfer if adopt is None else replace(context.transfer, adopt=adopt)
