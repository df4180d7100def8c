"""What people declared: the values a manifest becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.core.digest import Digest
from reconciler.core.egress import EgressPolicy
from reconciler.core.source import Source

DISK_RESERVE_BYTES = 256 * 2**20
# ARW's floor: enough for logs, the registry and a shell to work on a disk filled with models.


class Kind(StrEnum):
    """What an object is; the first half of a reference such as `models/qwen`."""

    MODEL = "model"
    ADAPTER = "adapter"
    SLOT = "slot"

    @property
    def section(self) -> str:
        """The manifest section that declares such objects."""
        return self.value + "s"


class Role(StrEnum):
    """What a file of a model is for."""

    MODEL = "model"
    SHARD = "shard"
    MMPROJ = "mmproj"
    TOKENIZER = "tokenizer"
    CONFIG = "config"


class Adopt(StrEnum):
    """How the bytes of a `file:` source come into the store."""

    CLONE = "clone"
    HARDLINK = "hardlink"


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file of a model or adapter."""

    path: str
    """Its path in the view: the `files` key, else `name`, else the source's basename."""
    digest: Digest
    size_bytes: int | None
    """None: not declared, so unknown until the response headers."""
    role: Role
    sources: tuple[Source, ...]
    """In the order they are tried; never empty."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """How a declared object's bytes are fetched."""

    retries: int = 2
    """Further tries at one source before the next source."""
    idle_timeout_s: float = 300.0
    """The longest silence between two reads; 0 means no limit."""
    adopt: Adopt = Adopt.CLONE


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A declared model; `files` is never empty and its paths are unique."""

    name: str
    files: tuple[FileSpec, ...]
    provider: str
    license: str | None = None
    display_name: str | None = None
    labels: tuple[str, ...] = ()
    transfer: Transfer = Transfer()

    @property
    def ref(self) -> str:
        """`models/<name>`."""
        return f"models/{self.name}"

    @property
    def kind(self) -> Kind:
        """`Kind.MODEL`."""
        return Kind.MODEL


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """A declared LoRA adapter for the model `base`."""

    name: str
    base: str
    files: tuple[FileSpec, ...]
    provider: str
    license: str | None = None
    display_name: str | None = None
    labels: tuple[str, ...] = ()
    transfer: Transfer = Transfer()

    @property
    def ref(self) -> str:
        """`adapters/<name>`."""
        return f"adapters/{self.name}"

    @property
    def kind(self) -> Kind:
        """`Kind.ADAPTER`."""
        return Kind.ADAPTER


WeightsSpec = ModelSpec | AdapterSpec


class Driver(StrEnum):
    """What serves a slot."""

    LINK = "link"


@dataclass(frozen=True, slots=True)
class SlotSpec:
    """A stable name and the model it serves."""

    name: str
    model: str
    driver: Driver = Driver.LINK
    default: bool = False

    @property
    def ref(self) -> str:
        """`slots/<name>`."""
        return f"slots/{self.name}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many downloads run at once; units are permits."""

    max: int = 2
    hard_cap: int = 16
    per_host: int = 4

    @property
    def effective_max(self) -> int:
        """`max`, but never above `hard_cap`."""
        return max(1, min(self.max, self.hard_cap))


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """When bytes that nothing names any more are moved to quarantine and then removed."""

    ttl_s: float = 86_400.0
    quarantine_s: float = 7 * 86_400.0
    keep: int = 0
    """Previous distinct digest sets kept for each model that is still declared."""
    max_delete_share: float = 0.30  # above this a typo is likelier than a wish
    max_delete_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A `moved` entry; both are references such as `models/old`."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a desired state was read, and whether all of it could be."""

    documents: int = 0
    paths: tuple[str, ...] = ()
    """PATHS as sorted real paths."""
    unready: tuple[str, ...] = ()
    """Layers that could not be read this time; while there is one nothing is pruned."""
    is_bare: bool = False
    """Whether PATHS themselves hold no document, whatever `requests/` holds."""


def _empty_models() -> Mapping[str, ModelSpec]:
    return {}


def _empty_adapters() -> Mapping[str, AdapterSpec]:
    return {}


def _empty_slots() -> Mapping[str, SlotSpec]:
    return {}


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything declared. Every reference in it resolves and every on-disk name is unique."""

    models: Mapping[str, ModelSpec] = field(default_factory=_empty_models)
    adapters: Mapping[str, AdapterSpec] = field(default_factory=_empty_adapters)
    slots: Mapping[str, SlotSpec] = field(default_factory=_empty_slots)
    limits: Limits = Limits()
    pruning: PrunePolicy = PrunePolicy()
    egress: EgressPolicy = EgressPolicy()
    moves: tuple[Move, ...] = ()
    provenance: Provenance = Provenance()
    revision: str = ""
    """A digest of the manifests' text; changes whenever any character does."""
    superseded: tuple[str, ...] = ()
    """References of a later layer that an earlier layer shadows."""

    def weights(self) -> tuple[WeightsSpec, ...]:
        """Every model, then every adapter, each sorted by name."""
        models = tuple(self.models[name] for name in sorted(self.models))
        return models + tuple(self.adapters[name] for name in sorted(self.adapters))
