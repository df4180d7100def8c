"""Whether what is to come fits: into the disk, the quota and the time. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.desired import Budgets
from reconciler.core.job import Code
from reconciler.core.quantity import format_duration, format_size
from reconciler.transfer.failure import FetchError
from reconciler.transfer.throughput import in_time, needed_s, reckoned_mib_s


@dataclass(frozen=True, slots=True)
class Room:
    """What there is for one more download."""

    free_bytes: int
    """Of the disk."""
    promised_bytes: int
    """What downloads that were admitted before will still write."""
    stored_bytes: int | None
    """What the store holds; None: there is no quota, or enough of it is left."""
    ewma_mib_s: float | None
    """Throughput of earlier downloads; None: unknown."""
    spent_s: float
    """What the download has used of its time."""


def refusal(need_bytes: int, room: Room, budgets: Budgets) -> FetchError | None:
    """Why a download of `need_bytes` more may not go on; None: it may."""
    if not need_bytes:  # what is on the disk already can be proved however full that is
        return None
    return _disk(need_bytes, room, budgets) or _quota(need_bytes, room, budgets) or _time(need_bytes, room, budgets)


def _disk(need_bytes: int, room: Room, budgets: Budgets) -> FetchError | None:
    spare_bytes = room.free_bytes - room.promised_bytes - budgets.reserve_bytes
    if need_bytes <= spare_bytes:
        return None
    return FetchError(
        Code.DISK_INSUFFICIENT,
        f"needs {format_size(need_bytes)}, but only {format_size(max(0, spare_bytes))} can be used: "
        f"{format_size(room.free_bytes)} free, {format_size(budgets.reserve_bytes)} reserved"
        f"{_others(room)}",
        transient=True,
        whole_job=True,
    )


def _quota(need_bytes: int, room: Room, budgets: Budgets) -> FetchError | None:
    if budgets.quota_bytes is None or room.stored_bytes is None:
        return None
    spare_bytes = budgets.quota_bytes - room.stored_bytes - room.promised_bytes
    if need_bytes <= spare_bytes:
        return None
    return FetchError(
        Code.QUOTA_EXCEEDED,
        f"needs {format_size(need_bytes)}, but only {format_size(max(0, spare_bytes))} of the quota of "
        f"{format_size(budgets.quota_bytes)} are left: the store holds {format_size(room.stored_bytes)}"
        f"{_others(room)}",
        transient=True,
        hint="raise budgets.quota, or remove what is not needed",
        whole_job=True,
    )


def _others(room: Room) -> str:
    return f", {format_size(room.promised_bytes)} for other downloads" if room.promised_bytes else ""


def _time(need_bytes: int, room: Room, budgets: Budgets) -> FetchError | None:
    if budgets.hard_s is None or room.ewma_mib_s is None:
        return None
    left_s = budgets.hard_s - room.spent_s
    if in_time(need_bytes, room.ewma_mib_s, left_s):
        return None
    return FetchError(
        Code.ADMISSION_DENIED,
        f"would take about {format_duration(round(needed_s(need_bytes, room.ewma_mib_s)))} for "
        f"{format_size(need_bytes)} at {reckoned_mib_s(room.ewma_mib_s):.1f} MiB/s, but only "
        f"{format_duration(max(0, round(left_s)))} of the hard budget are left",
        hint="raise budgets.hard",
        whole_job=True,
    )
