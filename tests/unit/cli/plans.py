"""Plans and reports to render: real values, no planner."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from reconciler.core.action import Action, Block, Fetch, Operation, Quarantine, SwitchSlot, WriteEntry
from reconciler.core.desired import Kind, Role
from reconciler.core.digest import Digest, digest_of
from reconciler.core.entry import EntryFile, EntrySpec, file_set
from reconciler.core.plan import FetchSummary, Fuse, Plan
from reconciler.core.report import Exit, Result, ResultStatus, RunReport
from reconciler.core.slot import SlotTarget
from reconciler.core.source import HuggingFaceFile, Source, WebFile
from reconciler.core.status import Condition, ConditionType

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINILM = Digest("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
OLD = digest_of(b"old weights")
WHY_FUSED = "1 of 2 blobs would go, more than 30% (pruning.max_delete.share)"
HUB = HuggingFaceFile(
    "sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41", "model.safetensors"
)
FILES = (EntryFile("model.safetensors", MINILM, Role.MODEL),)
SPEC = EntrySpec(Kind.MODEL, "all-minilm-l6-v2", FILES, "hf", None, None, (), None)
TARGET = SlotTarget("all-minilm-l6-v2", file_set(FILES))


def action(operation: Operation, id_: str, kind: str, name: str, **more: Any) -> Action:
    values = {"owners": (), "reason": "New", "message": "first seen"} | more
    return Action(id=id_, operation=operation, kind=kind, name=name, **values)


def fetch(
    digest: Digest = MINILM, sources: tuple[Source, ...] = (HUB,), size_bytes: int | None = 90_868_376, **more: Any
) -> Action:
    more = {"owners": ("models/all-minilm-l6-v2",), "reason": "Missing", "message": "not in the store"} | more
    return action(
        Fetch(digest, sources, size_bytes, 0), f"fetch:{digest}", "blob", digest, size_bytes=size_bytes, **more
    )


def write_entry() -> Action:
    operation = WriteEntry(SPEC, file_set(FILES), ())
    return action(operation, "write-entry:models/all-minilm-l6-v2", "model", SPEC.name, size_bytes=0)


def switch() -> Action:
    message = "serves nothing yet"
    return action(SwitchSlot("chat", TARGET), "switch-slot:chat", "slot", "chat", message=message, size_bytes=0)


def quarantine(*, blocked: bool) -> Action:
    block = Block("PruneBlocked", None, WHY_FUSED) if blocked else None
    return action(
        Quarantine(OLD, confirmed=False),
        f"quarantine:{OLD}",
        "blob",
        OLD,
        message="4.7 GB unreferenced for 1d or longer",
        size_bytes=0,
        blocked=block,
    )


def plan(*actions: Action, **more: Any) -> Plan:
    fetches = [a for a in actions if isinstance(a.operation, Fetch)]
    known = [a.size_bytes for a in fetches if a.size_bytes is not None]
    values: dict[str, Any] = {
        "actions": actions,
        "jobs": (),
        "fingerprint": "f" * 64,
        "fetch": FetchSummary(len(fetches), sum(known), len(fetches) - len(known)),
        "free_bytes": 51_300_000_000,
        "peak_disk_bytes": sum(known),
        "delete_bytes": 0,
    }
    return Plan(**(values | more))


def first_converge() -> Plan:
    return plan(fetch(), write_entry(), switch())


def fused() -> Plan:
    fuse = Fuse("MaxDeleteShare", WHY_FUSED, "c" * 64)
    return plan(quarantine(blocked=True), fuse=fuse)


def converged() -> RunReport:
    made = first_converge()
    return RunReport(Exit.OK, made, tuple(Result(a.id, ResultStatus.DONE) for a in made.actions))


def waiting_condition(reference: str) -> Condition:
    later = datetime(2026, 11, 21, 13, 0, tzinfo=UTC)
    return Condition(reference, ConditionType.FETCH_FAILED, True, "Transient", "503", "r1", AT, later)


def web(url: str) -> WebFile:
    return WebFile(url)
