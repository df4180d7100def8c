"""`reconcile events`: the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

from cyclopts import Parameter

from reconciler.cli.context import UsageError
from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.render.event_list import event_lines
from reconciler.cli.reporting import reporter
from reconciler.core.event import Event, EventId, JsonValue
from reconciler.plan.document import instant

BATCH = 10_000  # some 10 MB of events, and few enough queries


def events(
    *,
    after: str | None = None,
    prefix: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    limit: int = 100,
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Print the newest journaled events, oldest first.

    Parameters
    ----------
    after
        The first events after this id, such as 0a1b2c3d-42, instead of the newest.
    prefix
        Only topics that begin with this, such as models.; may be given several times.
    limit
        At most so many. [default: 100]
    """
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    if limit < 1:
        raise UsageError(f"--limit: wanted a number above zero, got {limit}")
    start = _event_id(after)
    read = partial(context.assembly().read_events, settings)
    found = _newest(read, prefix, limit) if start is None else read(start, prefix, limit)
    printer = reporter(context.terminal, settings, context.argv)
    printer.show_items([_document(event) for event in found], event_lines(found, context.terminal.width))
    return 0


def _newest(read: Callable[..., Sequence[Event]], prefix: tuple[str, ...], limit: int) -> Sequence[Event]:
    """The journal is read from its beginning, a batch at a time: it can be longer than memory is large."""
    newest: deque[Event] = deque(maxlen=limit)
    after: EventId | None = None
    while batch := read(after, prefix, BATCH):
        newest.extend(batch)
        after = batch[-1].id
        if len(batch) < BATCH:
            break
    return tuple(newest)


def _event_id(text: str | None) -> EventId | None:
    try:
        return EventId.parse(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--after: {error}") from error


def _document(event: Event) -> dict[str, JsonValue]:
    return {"id": str(event.id), "topic": event.topic, "at": instant(event.at), "payload": dict(event.payload)}
