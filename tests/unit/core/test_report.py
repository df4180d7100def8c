"""What a command says and exits with."""

from __future__ import annotations

from reconciler.core.report import PRECEDENCE, Diagnostic, Exit, worst


def test_the_exit_code_of_several_is_the_first_by_precedence() -> None:
    assert worst() is Exit.OK
    assert worst(Exit.OK, Exit.CHANGES) is Exit.CHANGES
    assert worst(Exit.CHANGES, Exit.BLOCKED) is Exit.BLOCKED
    assert worst(Exit.NOT_CONVERGED, Exit.FAILED) is Exit.FAILED
    assert worst(Exit.FAILED, Exit.BLOCKED) is Exit.BLOCKED
    assert worst(Exit.BLOCKED, Exit.REFUSED) is Exit.REFUSED
    assert worst(Exit.REFUSED, Exit.INVALID) is Exit.INVALID
    assert worst(Exit.INVALID, Exit.BUG) is Exit.BUG
    assert worst(Exit.BUG, Exit.USAGE) is Exit.USAGE


def test_every_exit_code_has_its_place() -> None:
    assert set(PRECEDENCE) == set(Exit)
    assert len(PRECEDENCE) == len(Exit)


def test_a_diagnostic_is_one_line_with_its_position() -> None:
    found = Diagnostic("BadValue", "wanted a digest, got 'x'", "m/a.yaml", 3, 9, "models.m.sha256")

    assert str(found) == "m/a.yaml:3:9: models.m.sha256: wanted a digest, got 'x'"


def test_a_diagnostic_says_what_it_knows() -> None:
    assert str(Diagnostic("StoreMissing", "the store is missing")) == "the store is missing"
    assert str(Diagnostic("SyntaxError", "found a tab", "a.yaml", 3)) == "a.yaml:3: found a tab"
