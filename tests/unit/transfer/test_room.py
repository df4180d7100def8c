"""Whether what is to come fits."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.desired import Budgets
from reconciler.core.job import Code
from reconciler.transfer.room import Room, refusal

MIB = 2**20
ROOM = Room(free_bytes=1000, promised_bytes=200, stored_bytes=None, ewma_mib_s=None, spent_s=0.0)
FREE = Budgets(reserve_bytes=300)


def test_what_fits_to_the_byte_is_admitted_beside_the_reserve_and_what_others_need() -> None:
    assert refusal(500, ROOM, FREE) is None
    refused = refusal(501, ROOM, FREE)
    assert refused is not None
    assert (refused.code, refused.transient, refused.whole_job) == (Code.DISK_INSUFFICIENT, True, True)
    assert refused.message == (
        "needs 501 B, but only 500 B can be used: 1.0 kB free, 300 B reserved, 200 B for other downloads"
    )


def test_other_downloads_are_named_only_where_they_need_room() -> None:
    alone = replace(ROOM, promised_bytes=0, stored_bytes=900)
    on_disk = refusal(701, alone, FREE)
    in_quota = refusal(101, alone, replace(FREE, reserve_bytes=0, quota_bytes=1000))
    assert on_disk is not None
    assert in_quota is not None
    assert on_disk.message.endswith("1.0 kB free, 300 B reserved")
    assert in_quota.message.endswith("the store holds 900 B")


def test_what_needs_nothing_fits_wherever_there_is_too_little() -> None:
    full = replace(ROOM, free_bytes=0, stored_bytes=2000, ewma_mib_s=1.0, spent_s=100.0)
    assert refusal(0, full, replace(FREE, quota_bytes=1000, hard_s=1.0)) is None


def test_a_disk_that_is_overfull_says_nothing_negative() -> None:
    refused = refusal(1, replace(ROOM, free_bytes=0), FREE)
    assert refused is not None
    assert "only 0 B can be used" in refused.message


def test_the_quota_counts_what_is_stored_and_promised() -> None:
    room, budgets = replace(ROOM, free_bytes=10**6, stored_bytes=700), replace(FREE, quota_bytes=1000)
    assert refusal(100, room, budgets) is None
    refused = refusal(101, room, budgets)
    assert refused is not None
    assert (refused.code, refused.transient) == (Code.QUOTA_EXCEEDED, True)
    assert "needs 101 B, but only 100 B of the quota of 1.0 kB are left: the store holds 700 B" in refused.message


def test_a_quota_of_which_enough_is_left_is_no_reason() -> None:
    assert refusal(10**5, replace(ROOM, free_bytes=10**6), replace(FREE, quota_bytes=1)) is None


def test_what_the_line_can_not_carry_in_the_time_left_is_not_begun() -> None:
    room = replace(ROOM, free_bytes=10**12, ewma_mib_s=10.0, spent_s=5.0)
    budgets = replace(FREE, hard_s=15.5)  # 10 s are left, after half a second of slack
    assert refusal(100 * MIB, room, budgets) is None
    refused = refusal(101 * MIB, room, budgets)
    assert refused is not None
    assert (refused.code, refused.transient, refused.whole_job) == (Code.ADMISSION_DENIED, False, True)
    assert "10.0 MiB/s" in refused.message


def test_without_a_hard_budget_or_any_experience_time_is_no_reason() -> None:
    endless = replace(ROOM, free_bytes=10**15)
    assert refusal(10**12, replace(endless, ewma_mib_s=0.001), FREE) is None
    assert refusal(10**12, endless, replace(FREE, hard_s=1)) is None


def test_a_line_that_was_ever_so_slow_is_reckoned_with_as_two_mib_and_the_message_says_so() -> None:
    room = replace(ROOM, free_bytes=10**12, ewma_mib_s=1e-9)
    assert refusal(20 * MIB, room, replace(FREE, hard_s=10.5)) is None
    refused = refusal(20 * MIB, room, replace(FREE, hard_s=10.4))
    assert refused is not None
    assert "would take about 10s for 21.0 MB at 2.0 MiB/s" in refused.message
