"""Adapter scales of a running llama-server: `GET` and `POST /lora-adapters`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.errors import TransientError
from reconciler.net.exchange import Exchange, Question, Reach
from reconciler.net.failure import NetError

_PATH = "/lora-adapters"
_TIMEOUT_S = 5.0
# llama-server answers between two tokens of what it generates; a busy one needs a moment.


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An adapter as the server knows it."""

    id: int
    path: str
    scale: float


def apply(exchange: Exchange, port: int, paths: Sequence[str], scales: Sequence[float]) -> None:
    """The server on the port applies the adapters at `paths` with `scales`; others keep theirs.

    Raises TransientError (reason `AdaptersRefused`) if it does not say so afterwards.
    """
    wanted = _wanted(_loaded(exchange, port), paths, scales)
    body = json.dumps([{"id": adapter_id, "scale": scale} for adapter_id, scale in wanted.items()]).encode()
    _ask(exchange, port, "POST", body)
    for adapter in _loaded(exchange, port):
        if not math.isclose(adapter.scale, wanted.get(adapter.id, adapter.scale), rel_tol=1e-5, abs_tol=1e-6):
            raise _refused(f"{adapter.path} has the scale {adapter.scale}, wanted {wanted[adapter.id]}")


def _wanted(loaded: Sequence[_Loaded], paths: Sequence[str], scales: Sequence[float]) -> dict[int, float]:
    """The scale of every adapter by its id: the server sets those that are not named to zero."""
    wanted = {adapter.id: adapter.scale for adapter in loaded}
    free = list(loaded)
    for path, scale in zip(paths, scales, strict=True):
        mine = next((adapter for adapter in free if adapter.path == path), None)
        if mine is None:
            raise _refused(f"it has not loaded {path}")
        free.remove(mine)
        wanted[mine.id] = scale
    return wanted


def _loaded(exchange: Exchange, port: int) -> tuple[_Loaded, ...]:
    body = _ask(exchange, port, "GET", b"")
    try:
        return tuple(_Loaded(int(each["id"]), str(each["path"]), float(each["scale"])) for each in json.loads(body))
    except (ValueError, TypeError, KeyError) as error:
        raise _refused("its list of adapters can't be read") from error


def _ask(exchange: Exchange, port: int, method: str, body: bytes) -> bytes:
    headers = (("Content-Type", "application/json"),) if body else ()
    question = Question(f"http://127.0.0.1:{port}{_PATH}", method, headers, body, _TIMEOUT_S)
    try:
        answer = exchange.ask(question, Reach.LOOPBACK)
    except NetError as error:
        raise _refused(error.message) from error
    if not answer.is_success:
        raise _refused(f"{method} {_PATH} was answered with {answer.status}")
    return answer.body


def _refused(why: str) -> TransientError:
    return TransientError(
        f"the running process did not take the new adapter scales: {why}",
        reason="AdaptersRefused",
        hint="a runtime without `/lora-adapters` needs a restart: `reconcile unload`, then `reconcile load`",
    )
