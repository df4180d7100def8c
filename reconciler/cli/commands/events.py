"""`reconcile events`: the journal."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from reconciler.cli.context import UsageError
from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.render.text import printable
from reconciler.cli.reporting import reporter
from reconciler.core.event import Event, EventId, JsonValue
from reconciler.plan.document import instant


def events(
    *,
    after: str | None = None,
    prefix: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    limit: int = 100,
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Print journaled events, oldest first.

    Parameters
    ----------
    after
        Only events after this id, such as 0a1b2c3d-42.
    prefix
        Only topics that begin with this, such as models.; may be given several times.
    limit
        At most so many. [default: 100]
    """
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    if limit < 1:
        raise UsageError(f"--limit: wanted a number above zero, got {limit}")
    found = context.assembly().read_events(settings, _event_id(after), prefix, limit)
    printer = reporter(context.terminal, settings, context.argv)
    printer.show_items([_document(event) for event in found], [_line(event) for event in found])
    return 0


def _event_id(text: str | None) -> EventId | None:
    try:
        return EventId.parse(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--after: {error}") from error


def _document(event: Event) -> dict[str, JsonValue]:
    return {"id": str(event.id), "topic": event.topic, "at": instant(event.at), "payload": dict(event.payload)}


def _line(event: Event) -> str:
    return printable(f"{event.id}  {instant(event.at)}  {event.topic}  {json.dumps(dict(event.payload))}")
