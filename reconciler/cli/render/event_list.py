"""Events for people: when, about what, and what happened to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from reconciler.cli.render.table import prose_table
from reconciler.cli.render.text import time_of
from reconciler.core.event import Event, JsonValue, Topic

_HEAD = ("ID", "AT", "TOPIC", "WHAT")
_FIRST = ("id", "op", "status", "code")
"""Members that speak for themselves, without their name."""
_LEFT_OUT = frozenset({"corr_id"})
"""What only programs need: they read `-o json`."""


def event_lines(events: Sequence[Event], width: int | None) -> list[str]:
    """A table of `events`; on a terminal every line fits `width`."""
    rows = [(str(event.id), time_of(event.at), event.topic, _what(event)) for event in events]
    return prose_table(_HEAD, rows, width) if rows else ["No events."]


def _what(event: Event) -> str:
    payload = event.payload
    if event.topic == Topic.CONDITIONS_CHANGED:
        return _condition(payload)
    first = [str(payload[name]) for name in _FIRST if payload.get(name)]
    return " ".join([*first, *_rest(payload)])


def _condition(payload: Mapping[str, JsonValue]) -> str:
    status = "gone" if payload.get("status") is None else str(payload["status"]).lower()
    return f"{payload.get('object')} {payload.get('type')}={status} {payload.get('reason')}: {payload.get('message')}"


def _rest(payload: Mapping[str, JsonValue]) -> Iterator[str]:
    for name, value in payload.items():
        if name not in _FIRST and name not in _LEFT_OUT and value is not None:
            yield f"{name}={value if isinstance(value, str) else json.dumps(value)}"
