"""The alarm on APScheduler, which only ever wakes the loop: when something is due is decided elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from apscheduler.executors.debug import DebugExecutor  # type: ignore[import-untyped]
from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]
from apscheduler.triggers.date import DateTrigger  # type: ignore[import-untyped]

_WAKE = "wake"


class SchedulerAlarm:
    """`loop.serve.Alarm` with a scheduler thread of its own, which `wake` is called in."""

    def __init__(self, wake: Callable[[], None]) -> None:
        # It logs every job at INFO and every late one at WARNING; the loop says itself what it does.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._wake = wake
        self._at: datetime | None = None
        self._scheduler = BackgroundScheduler(
            timezone="UTC",  # or it asks the machine, which may have no answer
            executors={"default": DebugExecutor()},  # in the scheduler's own thread: a pool is joined at exit
            job_defaults={
                "misfire_grace_time": None,  # the default skips what is more than a second late
                "coalesce": True,
                "max_instances": 1,
            },
        )
        self._scheduler.start()

    def set(self, at: datetime | None) -> None:
        """`wake` is called at `at`, at once if that has passed; None: not at all."""
        if at == self._at:
            return
        self._at = at
        if at is None:
            self._scheduler.remove_all_jobs()
        else:
            self._scheduler.add_job(self._ring, DateTrigger(at), id=_WAKE, replace_existing=True)

    def close(self) -> None:
        """`wake` is called no more."""
        self._scheduler.shutdown(wait=False)

    def _ring(self) -> None:
        self._at = None
        self._wake()
