"""The stop signal."""

from __future__ import annotations

import pytest

from reconciler.transfer.token import Canceled, CancelToken


def test_the_first_reason_stays() -> None:
    token = CancelToken()
    token.check()
    token.cancel("pause")
    token.cancel("stop")
    assert (token.canceled, token.reason) == (True, "pause")
    with pytest.raises(Canceled) as caught:
        token.check()
    assert caught.value.reason == "pause"


def test_callbacks_run_once_and_withdrawn_ones_never() -> None:
    token, heard = CancelToken(), list[str]()
    token.on_cancel(lambda: heard.append("kept"))
    token.on_cancel(lambda: heard.append("withdrawn"))()
    token.cancel("stop")
    token.cancel("stop")
    token.on_cancel(lambda: heard.append("late"))()
    assert heard == ["kept", "late"]
