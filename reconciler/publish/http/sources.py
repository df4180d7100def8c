"""What the routes answer from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reconciler.publish.documents import Documents
from reconciler.publish.health import Ailment
from reconciler.publish.http.sse import HEARTBEAT_S, Readers
from reconciler.publish.metrics import Metrics
from reconciler.publish.stream import Stream


class Health(Protocol):
    """How the node is at this moment; empty is good."""

    def unhealthy(self) -> tuple[Ailment, ...]:
        """What only a restart can help."""
        ...

    def unready(self) -> tuple[Ailment, ...]:
        """What keeps the read models from saying how the machine is."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """All of it lives in the thread of the event loop that the routes run in."""

    documents: Documents
    stream: Stream
    metrics: Metrics
    readers: Readers
    health: Health
    heartbeat_s: float = HEARTBEAT_S
