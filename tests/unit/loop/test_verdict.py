"""What the report of a run says of jobs that had not ended when it did."""

from __future__ import annotations

from datetime import datetime

import pytest

from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.plan import PlanPolicy
from reconciler.core.report import Exit, ResultStatus
from reconciler.loop.node import Look
from reconciler.loop.verdict import Ended, run_report
from tests.builders import NOW, ago, desired, digest, gone, model, observed, plan
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry


@pytest.mark.parametrize(
    ("code", "at", "asked", "status", "exit_code"),
    [
        (Code.CONNECT, ago(minutes=-5), False, ResultStatus.FAILED, Exit.FAILED),
        (Code.HTTP, ago(hours=-1), True, ResultStatus.WAITING, Exit.NOT_CONVERGED),
        (Code.ADMISSION_DENIED, NOW, False, ResultStatus.WAITING, Exit.NOT_CONVERGED),
    ],
    ids=["our own back-off", "Retry-After", "a window that opens just now"],
)
def test_of_jobs_that_wait_only_one_that_was_tried_in_vain_has_failed(
    code: Code, at: datetime, asked: bool, status: ResultStatus, exit_code: Exit
) -> None:
    job = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW, code, "why", at, server_asked=asked)
    found = observed(gone("a"), job)
    made = plan(desired(model("m", "a")), found)
    look = Look(found, MemoryRegistry(FakeClock()).snapshot(), made, PlanPolicy(), NOW)
    report = run_report(Ended(made, look, {}), ())
    assert (report.results[0].status, report.results[0].code) == (status, code)
    assert report.exit_code is exit_code
