"""Adapters that are about to be registered: whether their bytes are a LoRA for their base model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from reconciler.apply.backends import Backends
from reconciler.core.action import Action, WriteEntry
from reconciler.core.desired import Kind, Role
from reconciler.core.digest import Digest
from reconciler.core.entry import EntrySpec
from reconciler.core.errors import AdapterInvalidError, ReconcilerError, TransientError
from reconciler.formats.header_bytes import HeaderError
from reconciler.formats.lora import check_declared
from reconciler.formats.lora_base import BaseModel, check_base
from reconciler.formats.lora_files import HeaderFile, read_base, read_lora
from reconciler.ports import BlobStore

HINT = "the adapter is not registered; declare the right file, base, alpha and rank, or another adapter"


def invalid_adapters(
    actions: tuple[tuple[Action, WriteEntry], ...], backends: Backends, sizes: Mapping[Digest, int]
) -> Mapping[str, ReconcilerError]:
    """Why adapters among `actions` must not be registered, by action id; only headers are read.

    A base model is one that `actions` register as well, else a registered one.
    """
    adapters = [(action, op.spec) for action, op in actions if op.spec.kind is Kind.ADAPTER]
    known = {ref: entry.spec for ref, entry in backends.registry.snapshot().entries.items()}
    known |= {op.spec.ref: op.spec for _, op in actions}
    bases = _Bases(known, backends.store)
    return {action.id: error for action, spec in adapters for error in _problem(spec, bases, backends.store, sizes)}


def _problem(
    spec: EntrySpec, bases: _Bases, store: BlobStore, sizes: Mapping[Digest, int]
) -> Iterator[ReconcilerError]:
    try:
        lora = read_lora(_files(spec, store, sizes))
        check_declared(lora, alpha=spec.alpha, rank=spec.rank)
        check_base(lora, bases.read(spec.base or ""))
    except HeaderError as error:
        message = f"it is no adapter for {spec.base}: {error}"
        yield AdapterInvalidError(message, hint=HINT)
    except ReconcilerError as error:
        yield error


class _Bases:
    """Base models by name, each read once: a vocabulary takes a moment to pass over."""

    def __init__(self, known: Mapping[str, EntrySpec], store: BlobStore) -> None:
        self._known = known
        self._store = store
        self._read: dict[str, BaseModel] = {}

    def read(self, name: str) -> BaseModel:
        """What the model's headers say. Raises HeaderError, and TransientError while it is not registered."""
        if name not in self._read:
            spec = self._known.get(f"models/{name}")
            if spec is None:
                raise TransientError(f"the base model {name} is not registered yet", reason="BaseNotRegistered")
            self._read[name] = self._look(spec)
        return self._read[name]

    def _look(self, spec: EntrySpec) -> BaseModel:
        try:
            return read_base(_files(spec, self._store, {}, roles=(Role.MODEL, Role.SHARD)))
        except HeaderError as error:
            raise HeaderError(f"the base model can't be read: {error}") from error


def _files(
    spec: EntrySpec, store: BlobStore, sizes: Mapping[Digest, int], roles: Iterable[Role] = tuple(Role)
) -> tuple[HeaderFile, ...]:
    return tuple(
        HeaderFile(file.path, partial(store.read_blob, file.digest), sizes.get(file.digest))
        for file in spec.files
        if file.role in roles
    )
