"""What went wrong or is withheld, as diagnostics."""

from __future__ import annotations

from reconciler.core.job import Code
from reconciler.core.plan import PlanPolicy
from reconciler.core.report import Diagnostic, Exit, Result, ResultStatus, RunReport
from reconciler.plan.document import problems
from tests.builders import converged, desired, digest, model, observed, plan


def test_a_report_without_a_plan_has_the_errors_it_was_given() -> None:
    error = Diagnostic("BadValue", "wanted a digest")

    assert problems(RunReport(Exit.INVALID, errors=(error,))) == (error,)


def test_every_blocked_action_is_one_problem() -> None:
    made = plan(desired(model("m", "a")), observed(), PlanPolicy(offline=True))

    (problem,) = problems(RunReport(Exit.BLOCKED, made))

    assert problem.reason == "Offline"
    assert problem.message == f"fetch:{digest('a')}: https://example.com/a.gguf: --offline allows file: sources only"


def test_a_tripped_fuse_is_one_problem_however_much_it_withholds() -> None:
    made = plan(desired(documents=0), observed(*converged(model("m", "a", "b"))))
    assert made.fuse is not None

    (problem,) = problems(RunReport(Exit.BLOCKED, made))

    assert (problem.reason, problem.message) == ("PruneBlocked", made.fuse.message)
    assert problem.hint == f"--confirm-prune {made.fuse.confirm} lets exactly these deletions happen"


def test_a_failed_action_is_a_problem_and_one_that_waits_is_none() -> None:
    results = (
        Result("fetch:x", ResultStatus.FAILED, Code.SHA256_MISMATCH, "other bytes"),
        Result("switch-slot:chat:y", ResultStatus.FAILED, None, "in the way", "PathOccupied", "move it"),
        Result("fetch:z", ResultStatus.WAITING, Code.CONNECT, "no answer"),
    )

    found = problems(RunReport(Exit.FAILED, results=results))

    assert [(p.reason, p.message, p.hint) for p in found] == [
        ("Sha256Mismatch", "fetch:x: other bytes", None),
        ("PathOccupied", "switch-slot:chat:y: in the way", "move it"),
    ]
