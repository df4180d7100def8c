"""Declared models and adapters, with what they inherit."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.desired import AdapterSpec, ModelSpec, Transfer
from reconciler.manifest.context import Context
from reconciler.manifest.fields import (
    ADOPT,
    BASE,
    IDLE_TIMEOUT,
    LABELS,
    LICENSE,
    NAME,
    PROVIDER,
    RETRIES,
)
from reconciler.manifest.files import read_files
from reconciler.manifest.shapes import Found

_TRANSFER = Transfer()


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
    )


def adapter_spec(name: str, found: Found, context: Context) -> AdapterSpec | None:
    """The adapter that `found` declares; None if something is wrong with it, which is then reported."""
    base = found.get(BASE)
    files = read_files(found, context)
    if base is None or not files:
        return None
    provider = files[0].sources[0].scheme
    return AdapterSpec(name, base.text, files, provider, transfer=context.transfer)


def transfer_defaults(defaults: Found) -> Transfer:
    """How the bytes of everything that does not say otherwise are fetched."""
    return Transfer(defaults.value(RETRIES, _TRANSFER.retries), defaults.value(IDLE_TIMEOUT, _TRANSFER.idle_timeout_s))


def _transfer(found: Found, context: Context) -> Transfer:
    adopt = found.get(ADOPT)
    return context.transfer if adopt is None else replace(context.transfer, adopt=adopt)
