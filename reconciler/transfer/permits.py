"""Which queued job may run next: the most urgent, then first come, among the hosts that have room.

A plain data structure without a lock: the lane's lock guards it. Every operation costs
O(log jobs), so 10,000 queued jobs are scheduled without ever being looked through.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace

from reconciler.core.desired import Limits
from reconciler.core.digest import Digest
from reconciler.core.transfers import Concurrency

NO_HOST = ""
"""The host of work that asks nobody: it counts against the permits, never against a host."""


@dataclass(frozen=True, slots=True, order=True)
class _Ticket:
    """A place in one host's queue; the smallest is the first."""

    urgency: int
    """The priority, negated."""
    number: int
    digest: Digest
    host: str

    @property
    def rank(self) -> tuple[int, int]:
        return self.urgency, self.number


class Permits:
    """Permits held by running jobs, and the queue for them. `limits` says how many there are."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tickets: dict[Digest, _Ticket] = {}
        self._queues: dict[str, list[_Ticket]] = {}
        # Heaps. Tickets that count no more are recognised when they surface, which is cheaper than finding them.
        self._heads: list[tuple[tuple[int, int], str]] = []
        # One entry at least for every host with both work and room; stale ones are recognised by their rank.
        self._running: dict[Digest, str] = {}
        self._per_host: Counter[str] = Counter()
        self._last = 0
        self._first = 0

    def set_limits(self, limits: Limits) -> None:
        """Starts from now on obey `limits`; what runs keeps its permit."""
        self._limits = limits
        for host in tuple(self._queues):
            self._offer(host)

    def enqueue(self, digest: Digest, host: str, *, priority: int = 0, front: bool = False) -> None:
        """The digest waits for a permit, behind all others of its priority or before them; a second call moves it."""
        self.discard(digest)
        if front:
            self._first -= 1
        else:
            self._last += 1
        self._put(_Ticket(-priority, self._first if front else self._last, digest, host))

    def reprioritise(self, digest: Digest, priority: int) -> None:
        """If the digest waits, it has this priority, and its place among those of the same."""
        ticket = self._tickets.get(digest)
        if ticket is not None and ticket.urgency != -priority:
            self.discard(digest)
            self._put(replace(ticket, urgency=-priority))

    def discard(self, digest: Digest) -> None:
        """The digest waits no more."""
        ticket = self._tickets.pop(digest, None)
        if ticket is not None:
            self._offer(ticket.host)

    def queued(self) -> tuple[Digest, ...]:
        """Everything that waits, in the order of its turn; a host without room lets others pass."""
        return tuple(ticket.digest for ticket in sorted(self._tickets.values()))

    def concurrency(self) -> Concurrency:
        """How many permits there are and are held."""
        most, running = self._limits.effective_max, len(self._running)
        over = running - most
        return Concurrency(
            most, max(0, -over), min(running, most), self._limits.hard_cap, pending_shrink=over if over > 0 else None
        )

    def take(self) -> Digest | None:
        """The digest whose turn it is, of those that may run now, holds a permit; None if there is none."""
        while len(self._running) < self._limits.effective_max and self._heads:
            rank, host = heapq.heappop(self._heads)
            ticket = self._head(host)
            if ticket is None or ticket.rank != rank or not self._room(host):
                continue
            heapq.heappop(self._queues[host])
            del self._tickets[ticket.digest]
            self._hold(ticket.digest, host)
            self._offer(host)
            return ticket.digest
        return None

    def release(self, digest: Digest) -> None:
        """The digest's permit is free, if it held one."""
        host = self._running.pop(digest, None)
        if host is not None:
            self._leave(host)

    def move(self, digest: Digest, host: str) -> bool:
        """A running digest goes on with another host; False, and nothing changed, if that one is full."""
        old = self._running[digest]
        if host == old:
            return True
        if not self._room(host):
            return False
        self._hold(digest, host)
        self._leave(old)
        return True

    def _put(self, ticket: _Ticket) -> None:
        self._tickets[ticket.digest] = ticket
        heapq.heappush(self._queues.setdefault(ticket.host, []), ticket)
        if self._head(ticket.host) is ticket:
            self._offer(ticket.host)

    def _hold(self, digest: Digest, host: str) -> None:
        self._running[digest] = host
        self._per_host[host] += 1

    def _leave(self, host: str) -> None:
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        self._offer(host)

    def _room(self, host: str) -> bool:
        return host == NO_HOST or self._per_host[host] < max(1, self._limits.per_host)

    def _head(self, host: str) -> _Ticket | None:
        """The host's first ticket that still counts; forgets the ones before it."""
        queue = self._queues.get(host, [])
        while queue and self._tickets.get(queue[0].digest) is not queue[0]:
            heapq.heappop(queue)
        if queue:
            return queue[0]
        self._queues.pop(host, None)
        return None

    def _offer(self, host: str) -> None:
        ticket = self._head(host)
        if ticket is not None and self._room(host):
            heapq.heappush(self._heads, (ticket.rank, host))
