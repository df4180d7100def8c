"""What the failures of all sources together mean."""

from __future__ import annotations

import pytest

from reconciler.core.job import Code, names_all
from reconciler.core.source import WebFile
from reconciler.transfer.failure import FetchError
from reconciler.transfer.outcome import Failed, Wait, asked_for_s, own_wait_s, verdict

A, B = WebFile("https://a.example/x.gguf?token=secret"), WebFile("https://b.example/x.gguf")


def test_a_message_names_the_sources_that_it_is_about_and_no_others() -> None:
    busy = FetchError(Code.HTTP, "429; ask later", transient=True)
    message = verdict(((A, busy), (B, busy))).message
    assert names_all(message, (A, B))
    assert names_all(message, (B,))
    longer = WebFile(f"{B.url}.md5")
    assert not names_all(message, (B, longer))
    assert not names_all(verdict(((longer, busy),)).message, (B,))


def test_the_first_source_that_may_recover_says_why_the_job_waits_and_all_are_told() -> None:
    failures = ((A, FetchError(Code.NOT_FOUND, "404")), (B, FetchError(Code.CONNECT, "refused", transient=True)))
    message = "https://a.example/x.gguf: not-found: 404; https://b.example/x.gguf: connect: refused"
    assert verdict(failures) == Wait(Code.CONNECT, message, failures, for_sources=True)


def test_a_short_pause_that_the_tries_have_used_up_is_our_own_back_off() -> None:
    assert asked_for_s(FetchError(Code.HTTP, "503", transient=True, retry_after_s=10)) is None
    assert asked_for_s(FetchError(Code.HTTP, "503", transient=True, retry_after_s=11)) == 11


def test_when_none_can_recover_the_last_source_tells_the_code_and_all_are_named_without_secrets() -> None:
    found = verdict(
        (
            (A, FetchError(Code.SHA256_MISMATCH, f"{A.redacted}: wrong")),
            (B, FetchError(Code.NOT_FOUND, "gone", hint="look there")),
        )
    )
    assert found == Failed(
        Code.NOT_FOUND,
        "https://a.example/x.gguf: sha256-mismatch: wrong; https://b.example/x.gguf: not-found: gone (look there)",
    )


@pytest.mark.parametrize(("attempts", "wait_s"), [(0, 30), (1, 60), (2, 120), (5, 600), (10_000, 600)])
def test_our_own_waits_double_up_to_ten_minutes(attempts: int, wait_s: float) -> None:
    assert own_wait_s(attempts, 0.0) == wait_s
    assert 0.8 * wait_s <= own_wait_s(attempts, 0.999) < wait_s
