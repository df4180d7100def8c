"""Who runs next: first come, first served among the hosts that have room."""

from __future__ import annotations

from reconciler.core.desired import Limits
from reconciler.core.digest import Digest, digest_of
from reconciler.core.transfers import Concurrency
from reconciler.transfer.permits import NO_HOST, Permits


def names(count: int) -> list[Digest]:
    return [digest_of(str(n).encode()) for n in range(count)]


def queued(limits: Limits, *hosts: str) -> tuple[Permits, list[Digest]]:
    permits = Permits(limits)
    digests = names(len(hosts))
    for digest, host in zip(digests, hosts, strict=True):
        permits.enqueue(digest, host)
    return permits, digests


def test_permits_are_given_in_the_order_of_the_queue_and_no_more_than_there_are() -> None:
    permits, (a, b, _c) = queued(Limits(max=2), "h", "h", "h")
    assert [permits.take(), permits.take(), permits.take()] == [a, b, None]


def test_hard_cap_stands_above_max() -> None:
    permits, (a, _b) = queued(Limits(max=8, hard_cap=1), "h", "h")
    assert [permits.take(), permits.take()] == [a, None]


def test_a_full_host_does_not_hold_back_jobs_of_other_hosts() -> None:
    permits, (a, b, c, d) = queued(Limits(max=4, per_host=1), "h", "h", "other", "h")
    assert [permits.take(), permits.take(), permits.take()] == [a, c, None]
    permits.release(c)
    assert permits.take() is None
    permits.release(a)
    assert permits.take() == b
    permits.release(b)
    assert permits.take() == d


def test_work_without_a_host_counts_against_max_alone() -> None:
    permits, (a, b, c, _d) = queued(Limits(max=3, per_host=1), *[NO_HOST] * 4)
    assert [permits.take(), permits.take(), permits.take(), permits.take()] == [a, b, c, None]


def test_a_smaller_limit_stops_nobody_and_holds_for_the_next_start() -> None:
    permits, (a, b, c) = queued(Limits(max=2), "h", "h", "h")
    permits.take()
    permits.take()
    permits.set_limits(Limits(max=1))
    permits.release(a)
    assert permits.take() is None
    permits.release(b)
    assert permits.take() == c


def test_a_larger_host_limit_lets_parked_jobs_go() -> None:
    permits, (a, b) = queued(Limits(max=2, per_host=1), "h", "h")
    assert [permits.take(), permits.take()] == [a, None]
    permits.set_limits(Limits(max=2, per_host=2))
    assert permits.take() == b


def test_a_discarded_job_is_passed_over_also_at_the_head_of_a_full_host() -> None:
    permits, (a, b, c) = queued(Limits(max=2, per_host=1), "h", "h", "h")
    assert permits.take() == a
    permits.discard(b)
    permits.release(a)
    assert permits.take() == c


def test_a_job_that_is_queued_again_stands_at_its_new_place() -> None:
    permits, (a, b) = queued(Limits(max=2), "h", "h")
    permits.enqueue(a, "h")
    assert [permits.take(), permits.take(), permits.take()] == [b, a, None]


def test_a_job_put_to_the_front_comes_before_all_others() -> None:
    permits, (a, b) = queued(Limits(max=3), "h", "other")
    permits.enqueue(b, "h", front=True)
    assert [permits.take(), permits.take(), permits.take()] == [b, a, None]


def test_moving_to_another_host_frees_the_first_one() -> None:
    permits, (a, b, c) = queued(Limits(max=3, per_host=1), "h", "h", "other")
    assert [permits.take(), permits.take()] == [a, c]
    assert not permits.move(a, "other")
    assert permits.move(a, "third")
    assert permits.take() == b


def test_the_order_of_ten_thousand_jobs_is_kept() -> None:
    permits = Permits(Limits(max=16, per_host=4))
    digests = names(10_000)
    for number, digest in enumerate(digests):
        permits.enqueue(digest, f"host{number % 7}")
    taken: list[Digest] = []
    while (digest := permits.take()) is not None:  # type: ignore[assignment]
        taken.append(digest)
        permits.release(digest)
    assert taken == digests


def test_the_more_urgent_goes_first_and_equals_keep_their_order() -> None:
    permits = Permits(Limits(max=4))
    a, b, c, d = names(4)
    for digest, priority in ((a, 0), (b, 5), (c, -1), (d, 5)):
        permits.enqueue(digest, "h", priority=priority)
    assert permits.queued() == (b, d, a, c)
    assert [permits.take() for _ in range(4)] == [b, d, a, c]


def test_urgency_holds_across_hosts_but_never_opens_a_full_one() -> None:
    permits = Permits(Limits(max=4, per_host=1))
    a, b, c = names(3)
    permits.enqueue(a, "h", priority=1)
    permits.enqueue(b, "h", priority=9)
    permits.enqueue(c, "other", priority=5)
    assert [permits.take(), permits.take(), permits.take()] == [b, c, None]


def test_a_changed_priority_moves_a_job_that_waits_and_no_other() -> None:
    permits, (a, b, c) = queued(Limits(max=1), "h", "h", "h")
    assert permits.take() == a
    permits.reprioritise(c, 3)
    permits.reprioritise(a, 7)
    assert permits.queued() == (c, b)
    permits.reprioritise(c, 0)
    assert permits.queued() == (b, c)


def test_the_snapshot_counts_what_runs_above_a_smaller_limit_as_pending() -> None:
    permits, (a, b, _c) = queued(Limits(max=2, hard_cap=8), "h", "h", "h")
    permits.take()
    assert permits.concurrency() == Concurrency(2, 1, 1, 8)
    permits.take()
    permits.set_limits(Limits(max=1, hard_cap=8))
    assert permits.concurrency() == Concurrency(1, 0, 1, 8, pending_shrink=1)
    permits.release(a)
    assert permits.concurrency() == Concurrency(1, 0, 1, 8)
    permits.release(b)
    assert permits.concurrency() == Concurrency(1, 1, 0, 8)
