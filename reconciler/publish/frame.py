"""Frames: events as the bytes that every reader of the stream gets, encoded once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.event import Event, EventId, JsonValue, Topic


@dataclass(frozen=True, slots=True)
class Frame:
    """One event on the wire."""

    seq: int
    topic: str
    """What filters compare: a `resync` that stands for a patch has the topic of the patch."""
    data: bytes
    """`id:`, `event:` and `data:` lines and the empty line."""


def frame_of(id_: EventId, topic: Topic, payload: Mapping[str, JsonValue], *, matches: Topic | None = None) -> Frame:
    """The frame of one event; `matches` is the topic that filters compare, if it is another."""
    return Frame(id_.seq, (matches or topic).value, wire(id_, topic, encode(payload)))


def frame_of_event(event: Event) -> Frame:
    """The frame of a journaled event."""
    return frame_of(event.id, event.topic, event.payload)


def wire(id_: EventId, topic: Topic, data: bytes) -> bytes:
    """The lines of one event; `data` is JSON and so holds no line break."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(id_).encode(), topic.value.encode(), data)


def encode(value: Mapping[str, JsonValue]) -> bytes:
    """JSON without spaces and in ASCII: text with half of a surrogate pair in it can be sent too."""
    return json.dumps(value, separators=(",", ":")).encode()
