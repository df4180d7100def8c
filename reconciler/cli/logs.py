"""The log of a service: one line on standard error for what happened, none when nothing did.

Everything below `cli` uses the standard library's `logging`, with fields in `extra=`; so do uvicorn,
APScheduler and httpx. Here all of that becomes JSON lines for machines, or columns for a terminal,
with the pass it belongs to and without anything secret. The home of structlog.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TextIO

import structlog

from reconciler.cli.render.text import printable
from reconciler.core.source import redact_url
from reconciler.loop.correlation import current_pass
from reconciler.settings import LogFormat, LogLevel

Fields = MutableMapping[str, object]

_LEVELS = {
    "apscheduler": logging.CRITICAL,  # it reports wake-ups, and wake-ups that came late, as if they were news
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,  # below that it writes headers and URLs
    "httpx": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,  # a line for each request is a line a second when nothing happens
}
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>|]+", re.IGNORECASE)
_GIT_PLACE = re.compile(r"#[\w./+-]+:[\w./+-]*[.,;:!?)\]}]*$").search
# The reference and the path of a git source: the one fragment that is for people.
_TRAILING = ".,;:!?)]}"
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(?:^|[_-])(authorization|cookie|password|secret|token)$", re.IGNORECASE)
_LONG = ("message", "exception")
_SHOWN_FIRST = ("at", "level", "logger", "message")


@contextmanager
def logging_to(
    stream: TextIO, form: LogFormat = LogFormat.AUTO, level: LogLevel = LogLevel.INFO, *, colour: bool = False
) -> Iterator[None]:
    """Inside, whatever is logged anywhere in this process is a line on `stream`; before and after, as it was."""
    handler = logging.StreamHandler(stream)
    is_text = form is LogFormat.TEXT or (form is LogFormat.AUTO and stream.isatty())
    handler.setFormatter(_formatter(is_text=is_text, colour=colour and stream.isatty()))
    root = logging.getLogger()
    levels: dict[str, int | str] = {**_LEVELS, "": logging.WARNING, "reconciler": level.upper()}
    before = root.handlers[:], {name: logging.getLogger(name).level for name in levels}
    root.handlers[:] = [handler]
    _set(levels)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:], levels_before = before
        _set(levels_before)
        handler.close()


def _set(levels: Mapping[str, int | str]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _formatter(*, is_text: bool, colour: bool) -> logging.Formatter:
    last: list[structlog.typing.Processor]
    if is_text:
        columns = structlog.dev.ConsoleRenderer(
            colors=colour, event_key="message", timestamp_key="at", pad_event_to=0, sort_keys=False
        )
        last = [_printable, columns]
    else:
        last = [_ordered, structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            _with_pass,
            _redacted,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _with_pass(_logger: object, _method: str, fields: Fields) -> Fields:
    pass_id = current_pass()
    if pass_id:
        fields["pass"] = pass_id
    return fields


def _redacted(_logger: object, _method: str, fields: Fields) -> Fields:
    """The second net: messages show no secrets by themselves, but those of other packages may."""
    for name, value in fields.items():
        if _SECRET_NAME.search(name):
            fields[name] = "…"
        elif isinstance(value, str):
            fields[name] = _BEARER.sub(r"\1 …", _URL.sub(_without_secrets, value))
    return fields


def _without_secrets(found: re.Match[str]) -> str:
    text = found.group()
    place = _GIT_PLACE(text)
    url = text.rstrip(_TRAILING) if place is None else text[: place.start()]
    return redact_url(url) + text[len(url) :]


def _ordered(_logger: object, _method: str, fields: Fields) -> Fields:
    """What every line has comes first, so that lines can be read as well as parsed. Empty fields say nothing."""
    first = {name: fields[name] for name in _SHOWN_FIRST if name in fields}
    rest = {name: value for name, value in fields.items() if name not in first and value not in (None, "")}
    return first | rest


def _printable(logger: object, method: str, fields: Fields) -> Fields:
    """Nothing moves the cursor: messages may quote what another host sent."""
    return {
        name: _lines(value, "\n    " if name == "message" else "\n") if name in _LONG else _one_line(value)
        for name, value in _ordered(logger, method, fields).items()
    }


def _lines(value: object, joint: str) -> str:
    return joint.join(printable(line) for line in str(value).splitlines())


def _one_line(value: object) -> object:
    return printable(value) if isinstance(value, str) else value
