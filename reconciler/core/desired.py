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


RETRY_BACKOFF_S = 0.25
"""The pause before the first further try at a source; the next ones are longer."""
# Most drops are one lost connection: a quarter of a second is no burden to anybody.


@dataclass(frozen=True, slots=True)
class Transfer:
    """How a declared object's bytes are fetched."""

    retries: int = 2
    """Further tries at one source before the next source."""
    idle_timeout_s: float = 300.0
    """The longest silence between two reads; 0 means no limit."""
    adopt: Adopt = Adopt.CLONE
    segments: int | None = None
    """Ranges of one file that are fetched at once, 1 for never; None: as many as pay, from a certain size on."""


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
    priority: int = 0
    """What is more urgent starts first: higher before lower."""

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
    alpha: float | None = None
    """What the file must say; None: whatever it says."""
    rank: int | None = None
    """What the file must say; None: whatever it says."""
    priority: int = 0
    """As that of a model; adapters declare none."""

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
    """Files only: whoever opens the path gets the model."""
    PROCESS = "process"
    """A supervised child process, such as llama-server."""


class Load(StrEnum):
    """When the process of a slot runs."""

    EAGER = "eager"
    """Always."""
    ON_DEMAND = "on_demand"
    """From the first connection to its stable address until it is idle for `idle_ttl_s`."""
    MANUAL = "manual"
    """From `reconcile load` to `reconcile unload`, or until it is idle for `idle_ttl_s`."""


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """An adapter as a slot applies it."""

    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a slot's process is started and told healthy."""

    command: tuple[str, ...]
    """The program and its arguments, with `{model}`, `{mmproj}`, `{adapters}` and `{port}` in them; never empty."""
    env: tuple[tuple[str, str], ...] = ()
    """(name, text or reference `env:NAME`, `file:PATH`), sorted by name; nothing else is inherited but the basics."""
    port: int | None = None
    """The slot's stable port, kept by its proxy; None: the address changes with every launch."""
    health: str = "/health"
    """The path that answers 200 as soon as the process can serve."""
    health_timeout_s: float = 120.0
    """How long a launch may take to become healthy."""


@dataclass(frozen=True, slots=True)
class SlotSpec:
    """A stable name and the model it serves."""

    name: str
    model: str
    driver: Driver = Driver.LINK
    default: bool = False
    adapters: tuple[AdapterUse, ...] = ()
    """In the order they are passed to the runtime; only with the driver `process`."""
    load: Load = Load.EAGER
    idle_ttl_s: float | None = None
    """How long it may be idle before its process is stopped; None: for ever. Never with `Load.EAGER`."""
    runtime: Runtime | None = None
    """Set exactly when the driver is `process`."""

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
    bandwidth_bytes_per_s: int | None = None
    """What all downloads together may take; None: whatever there is."""

    @property
    def effective_max(self) -> int:
        """`max`, but never above `hard_cap`."""
        return max(1, min(self.max, self.hard_cap))


@dataclass(frozen=True, slots=True)
class Budgets:
    """What downloads may use up."""

    soft_s: float | None = None
    """How long one may take, from its admission on, before it is called degraded; None: no limit."""
    hard_s: float | None = None
    """How long one may take, from its admission on, before a person must decide; None: no limit."""
    degrade_share: float = 0.8
    """The share of `soft_s` at which it is called degraded."""
    max_size_bytes: int | None = None
    """The largest file that is fetched."""
    quota_bytes: int | None = None
    """The most that the store may hold, with what is still to come."""
    reserve_bytes: int = DISK_RESERVE_BYTES
    """What downloads leave free on the disk."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day in which downloads may run."""

    start_minute: int
    """Minutes since midnight, local time."""
    end_minute: int
    """Exclusive; not after `start_minute`: the window ends on the following day."""
    days: frozenset[int] = frozenset(range(7))
    """The days on which it opens, 0 is Monday."""


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
class Schedule:
    """When `serve` looks, prunes and verifies by itself."""

    reconcile_s: float = 300.0
    prune: str | None = None
    """A cron expression with weekday names; None: whenever something is due."""
    verify: str | None = None
    """A cron expression with weekday names; None: never."""
    timezone: str = "UTC"
    """An IANA name; in it cron expressions and windows are read."""
    downloads: tuple[Window, ...] = ()
    """When downloads may run; empty: always."""


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
    budgets: Budgets = Budgets()
    pruning: PrunePolicy = PrunePolicy()
    egress: EgressPolicy = EgressPolicy()
    transfer: Transfer = Transfer()
    """What objects inherit that say nothing of their own."""
    schedule: Schedule = Schedule()
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
