"""Builders for desired and observed state: what a test does not say is what a healthy machine has.

Bytes are named by a short tag: `digest("a")` is the digest of the content that every builder calls `a`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.core.action import Action
from reconciler.core.desired import (
    AdapterSpec,
    AdapterUse,
    Budgets,
    DesiredState,
    Driver,
    FileSpec,
    Load,
    ModelSpec,
    Move,
    Provenance,
    PrunePolicy,
    Role,
    Runtime,
    Schedule,
    SlotSpec,
    Transfer,
    WeightsSpec,
)
from reconciler.core.digest import Digest, digest_of, digest_of_json
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.egress import EgressPolicy
from reconciler.core.entry import Entry, FileSet, entry_spec, file_set
from reconciler.core.job import Job
from reconciler.core.observed import (
    BlobObserved,
    BlobRow,
    EntryObserved,
    FileIdentity,
    NodeFacts,
    ObservedState,
    Place,
    SlotObserved,
    StoreStatus,
)
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.slot import SlotRecord, SlotTarget
from reconciler.core.source import Source, WebFile
from reconciler.plan.planner import make_plan
from tests.fakes.clock import START

NOW = START
PATHS = ("/srv/manifests",)
GIB = 2**30

Declared = ModelSpec | AdapterSpec | SlotSpec
Found = BlobObserved | EntryObserved | SlotObserved | Directive | Job


def digest(tag: str) -> Digest:
    """What the content called `tag` is named."""
    return digest_of(tag.encode())


def ago(**duration: float) -> datetime:
    """The instant so long before `NOW`: `ago(days=2)`."""
    return NOW - timedelta(**duration)


# ---- declared ----------------------------------------------------------------------------------


def web(tag: str, host: str = "example.com") -> WebFile:
    """The source of the content `tag`."""
    return WebFile(f"https://{host}/{tag}.gguf")


def file(
    tag: str,
    path: str | None = None,
    *,
    size: int | None = 100,
    sources: tuple[Source, ...] | None = None,
    role: Role = Role.MODEL,
) -> FileSpec:
    """One declared file."""
    return FileSpec(path or f"{tag}.gguf", digest(tag), size, role, sources or (web(tag),))


def model(
    name: str,
    *files: str | FileSpec,
    labels: tuple[str, ...] = (),
    transfer: Transfer = Transfer(),
    priority: int = 0,
) -> ModelSpec:
    """A declared model; without `files` its only content is called as it is."""
    return ModelSpec(name, _files(name, files), "https", labels=labels, transfer=transfer, priority=priority)


def adapter(name: str, base: str, *files: str | FileSpec) -> AdapterSpec:
    """A declared adapter for the model `base`."""
    return AdapterSpec(name, base, _files(name, files), "https")


def _files(name: str, files: tuple[str | FileSpec, ...]) -> tuple[FileSpec, ...]:
    return tuple(file(each) if isinstance(each, str) else each for each in files or (name,))


def slot(name: str, serves: str) -> SlotSpec:
    """A declared slot."""
    return SlotSpec(name, serves)


COMMAND = ("llama-server", "--model", "{model}", "{adapters}", "--port", "{port}")


def process_slot(
    name: str,
    serves: str,
    *scales: tuple[str, float],
    command: tuple[str, ...] = COMMAND,
    port: int | None = None,
    load: Load = Load.EAGER,
    idle_ttl_s: float | None = None,
    health: str = "/health",
) -> SlotSpec:
    """A declared slot with a process; `scales` are its adapters."""
    uses = tuple(AdapterUse(*use) for use in scales)
    runtime = Runtime(command, port=port, health=health)
    return SlotSpec(name, serves, Driver.PROCESS, False, uses, load, idle_ttl_s, runtime)


def desired(
    *declared: Declared,
    pruning: PrunePolicy = PrunePolicy(),
    budgets: Budgets = Budgets(),  # noqa: B008 — frozen
    schedule: Schedule = Schedule(),  # noqa: B008 — frozen
    egress: EgressPolicy = EgressPolicy(),
    moves: tuple[tuple[str, str], ...] = (),
    documents: int = 1,
    paths: tuple[str, ...] = PATHS,
    unready: tuple[str, ...] = (),
) -> DesiredState:
    """Everything declared; `moves` are pairs of references."""
    state = DesiredState(
        models={each.name: each for each in declared if isinstance(each, ModelSpec)},
        adapters={each.name: each for each in declared if isinstance(each, AdapterSpec)},
        slots={each.name: each for each in declared if isinstance(each, SlotSpec)},
        pruning=pruning,
        budgets=budgets,
        schedule=schedule,
        egress=egress,
        moves=tuple(Move(*move) for move in moves),
        provenance=Provenance(documents, paths, unready),
    )
    return replace(state, revision=digest_of_json(repr(state)))


# ---- observed ----------------------------------------------------------------------------------


def row(
    tag: str,
    *,
    size: int | None = 100,
    verified: bool = True,
    unreferenced: datetime | None = None,
    quarantined: datetime | None = None,
    confirmed: bool = False,
    link: FileIdentity | None = None,
) -> BlobRow:
    """What the registry knows of the content `tag`."""
    since = ago(days=30)
    return BlobRow(
        digest(tag), since, size, since if verified else None, unreferenced, quarantined, confirmed, link
    )  # fmt: skip


def blob(
    tag: str,
    *,
    size: int = 100,
    place: Place = Place.BY_HASH,
    verified: bool = True,
    damaged: bool = False,
    part: int | None = None,
    unreferenced: datetime | None = None,
    quarantined: datetime | None = None,
    confirmed: bool = False,
    link: FileIdentity | None = None,
) -> BlobObserved:
    """Owned bytes on disk; in quarantine when `quarantined` says since when."""
    known = row(
        tag,
        size=size,
        verified=verified,
        unreferenced=unreferenced,
        quarantined=quarantined,
        confirmed=confirmed,
        link=link,
    )
    return BlobObserved(
        digest(tag), known, Place.QUARANTINE if quarantined else place, size, part_bytes=part, damaged=damaged
    )


def gone(tag: str, *, part: int | None = None, unreferenced: datetime | None = None) -> BlobObserved:
    """An owned digest without complete bytes, perhaps with a partial download."""
    return BlobObserved(digest(tag), row(tag, verified=False, unreferenced=unreferenced), None, None, part)


def foreign(tag: str, *, size: int = 100, place: Place | None = Place.BY_HASH, part: int | None = None) -> BlobObserved:
    """Bytes on disk that the registry knows nothing of."""
    return BlobObserved(digest(tag), None, place, size if place else None, part)


def files_of(*files: str | FileSpec) -> FileSet:
    """The generation of a model with these files."""
    return file_set(entry_spec(model("any", *files)).files)


def target(spec: WeightsSpec) -> SlotTarget:
    """The model as a slot serves it."""
    return SlotTarget(spec.name, file_set(entry_spec(spec).files))


def entry(
    spec: WeightsSpec,
    *,
    previous: tuple[FileSet, ...] = (),
    view: Digest | None = None,
    linked: bool = True,
    intact: bool = True,
    record: bool = True,
) -> EntryObserved:
    """A registered object as it was written; `view` or `linked=False` make its link another one or none."""
    known = entry_spec(spec)
    generation = file_set(known.files).id
    shown = (view or generation) if linked and isinstance(spec, ModelSpec) else None
    return EntryObserved(Entry(known, generation, previous, ago(days=30)), shown, intact, record)


def serving(
    name: str,
    current: WeightsSpec | None,
    *,
    last_good: WeightsSpec | None = None,
    candidate: WeightsSpec | None = None,
    linked: Digest | None = None,
    shown: bool = True,
) -> SlotObserved:
    """A slot's record; its link shows `current` unless said otherwise."""
    record = SlotRecord(
        name,
        None if current is None else target(current),
        None if candidate is None else target(candidate),
        None if last_good is None else target(last_good),
    )
    link = linked or (record.current.files.id if record.current is not None else None)
    return SlotObserved(record, link if shown else None)


def directive(kind: DirectiveKind, subject: str, *tags: str) -> Directive:
    """An operator's decision about the contents `tags`."""
    return Directive(kind, subject, tuple(digest(tag) for tag in tags), "operator", ago(hours=1))


def pin(subject: str, *tags: str) -> Directive:
    """The reference or digest is pinned."""
    return directive(DirectiveKind.PIN, subject, *tags)


def undelete(*tags: str, subject: str | None = None) -> Directive:
    """The contents are wanted back from quarantine."""
    return directive(DirectiveKind.UNDELETE, subject or digest(tags[0]), *tags)


def observed(
    *found: Found,
    paths: tuple[str, ...] | None = PATHS,
    store: StoreStatus = StoreStatus.READY,
    free: int = 1000 * GIB,
    unreadable: tuple[str, ...] = (),
) -> ObservedState:
    """A machine with what is given, and the generations of its entries and slots."""
    entries = {each.entry.spec.ref: each for each in found if isinstance(each, EntryObserved)}
    slots = {each.record.name: each for each in found if isinstance(each, SlotObserved)}
    sets = [file_set(each.entry.spec.files) for each in entries.values()]
    sets += [shown.files for each in slots.values() for shown in each.record.targets()]
    return ObservedState(
        NodeFacts(store, "the disk is not mounted" if store is StoreStatus.MISSING else "", free, 2 * free, paths),
        blobs={each.digest: each for each in found if isinstance(each, BlobObserved)},
        entries=entries,
        slots=slots,
        generations={files.id: files for files in sets},
        jobs={each.digest: each for each in found if isinstance(each, Job)},
        directives=tuple(each for each in found if isinstance(each, Directive)),
        unreadable=unreadable,
    )


def converged(*declared: Declared) -> tuple[Found, ...]:
    """What a machine holds that has become exactly what is declared."""
    weights = [each for each in declared if not isinstance(each, SlotSpec)]
    models = {each.name: each for each in weights if isinstance(each, ModelSpec)}
    blobs = {f.digest: _complete(f) for each in weights for f in each.files}
    slots = tuple(serving(each.name, models[each.model]) for each in declared if isinstance(each, SlotSpec))
    return (*blobs.values(), *(entry(each) for each in weights), *slots)


def _complete(spec: FileSpec) -> BlobObserved:
    size = spec.size_bytes or 100
    known = BlobRow(spec.digest, ago(days=30), size, ago(days=30))
    return BlobObserved(spec.digest, known, Place.BY_HASH, size)


# ---- planned -----------------------------------------------------------------------------------


def plan(
    wanted: DesiredState,
    found: ObservedState,
    policy: PlanPolicy = PlanPolicy(),  # noqa: B008 — frozen
    *,
    confirm: str | None = None,
    now: datetime = NOW,
) -> Plan:
    """The plan of this moment."""
    return make_plan(wanted, found, replace(policy, confirm_prune=confirm) if confirm else policy, now)


def find(made: Plan, op: str, name: str | None = None) -> Action:
    """The only action of `made` called `op` (for the object or digest `name`)."""
    (found,) = (a for a in made.actions if a.op == op and name in (None, a.name))
    return found


def ops(made: Plan) -> list[str]:
    """What the actions of `made` are called, in order."""
    return [action.op for action in made.actions]
