"""Work that tests make up: what is published of a lane, without one."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.transfers import Concurrency, Figures, Progress

IDLE = Figures(Concurrency(2, 2, 0, 16))
"""What a lane says of which nothing was asked yet."""


@dataclass
class MadeUpWork:
    """`publish.work.Work`; a test assigns what it shows."""

    jobs: tuple[Progress, ...] = ()
    counts: Figures = IDLE

    def progress(self) -> tuple[Progress, ...]:
        return self.jobs

    def figures(self) -> Figures:
        return self.counts
