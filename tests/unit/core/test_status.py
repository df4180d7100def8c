"""Conditions and errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core import errors
from reconciler.core.status import Condition, ConditionType
from tests.builders import NOW, ago

READY = Condition("models/m", ConditionType.READY, True, "Converged", "as declared", "r1", NOW)


def test_a_condition_is_the_same_when_a_reader_would_see_no_difference() -> None:
    assert READY.same_as(replace(READY, since=ago(days=1), observed_revision="r2"))
    assert not READY.same_as(None)
    assert not READY.same_as(replace(READY, status=False))
    assert not READY.same_as(replace(READY, reason="Other"))
    assert not READY.same_as(replace(READY, message="other"))
    assert not READY.same_as(replace(READY, next_attempt_at=NOW))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (errors.ReconcilerError, "Failed"),
        (errors.StalledError, "Stalled"),
        (errors.IntegrityError, "VerificationFailed"),
        (errors.UnsafePlanError, "UnsafePlan"),
        (errors.StoreMissingError, "StoreMissing"),
        (errors.RegistryError, "RegistryUnusable"),
        (errors.WriterLockedError, "WriterLocked"),
        (errors.TransientError, "Transient"),
    ],
)
def test_every_error_has_a_reason_of_its_kind_unless_it_says_another(
    kind: type[errors.ReconcilerError], reason: str
) -> None:
    assert kind("what happened").reason == reason
    said = kind("what happened", reason="Other", hint="do this")
    assert (str(said), said.message, said.reason, said.hint) == ("what happened", "what happened", "Other", "do this")


def test_a_transient_error_carries_what_the_other_side_asked_for() -> None:
    assert errors.TransientError("busy", retry_after_s=3.0).retry_after_s == 3.0
    assert errors.TransientError("busy").retry_after_s is None
