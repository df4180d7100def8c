"""The stop signal."""

from __future__ import annotations

import pytest

from reconciler.transfer.token import Canceled, CancelToken


def test_a_check_passes_until_the_token_is_cancelled_and_never_again() -> None:
    token = CancelToken()
    token.check()
    token.cancel()
    for _ in range(2):
        with pytest.raises(Canceled):
            token.check()


def test_callbacks_run_once_and_withdrawn_ones_never() -> None:
    token, heard = CancelToken(), list[str]()
    token.on_cancel(lambda: heard.append("kept"))
    token.on_cancel(lambda: heard.append("withdrawn"))()
    token.cancel()
    token.cancel()
    token.on_cancel(lambda: heard.append("late"))()
    assert heard == ["kept", "late"]
