"""The log of a service: what a line holds, what it never holds, and who is silent."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings

import pytest

from reconciler.cli.logs import logging_to
from reconciler.loop.correlation import in_pass
from reconciler.settings import LogFormat, LogLevel

log = logging.getLogger("reconciler.loop.test")


class Lines(io.StringIO):
    """A stream that may be a terminal."""

    is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal

    @property
    def documents(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def test_a_line_is_a_json_document_with_its_fields() -> None:
    stream = Lines()
    with logging_to(stream):
        log.warning("%s failed", "fetch:ab", extra={"object": "models/qwen", "corr_id": "c1", "reason": ""})
    (line,) = stream.documents
    assert list(line) == ["at", "level", "logger", "message", "object", "corr_id"]
    assert str(line.pop("at")).endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "reconciler.loop.test",
        "message": "fetch:ab failed",
        "object": "models/qwen",
        "corr_id": "c1",
    }


def test_lines_of_a_pass_carry_its_id_and_those_of_other_threads_do_not() -> None:
    stream = Lines()
    with logging_to(stream, LogFormat.JSON):
        with in_pass("p7"):
            log.info("inside")
            other = threading.Thread(target=log.info, args=("beside",))
            other.start()
            other.join()
        log.info("after")
    assert [(line["message"], line.get("pass")) for line in stream.documents] == [
        ("inside", "p7"),
        ("beside", None),
        ("after", None),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://u:hunter2@h.example/x?key=hunter2#hunter2.", "GET https://h.example/x."),
        ("('https://h.example/x?sig=hunter2')", "('https://h.example/x')"),
        ("https://h.example/a, then https://h.example/b", "https://h.example/a, then https://h.example/b"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer …"),
        ("file:///srv/models/a.gguf", "file:///srv/models/a.gguf"),
        ("git:https://u:hunter2@h.example/f.git#main:fleet/gpu.", "git:https://h.example/f.git#main:fleet/gpu."),
        ("(of git:https://h.example/f.git#v1:m).", "(of git:https://h.example/f.git#v1:m)."),
        ("serving git:file:///srv/f.git#v1.2:. at", "serving git:file:///srv/f.git#v1.2:. at"),
        ("https://h.example/x?a=hunter2#token=hunter2:x", "https://h.example/x"),
    ],
)
def test_no_line_shows_a_secret_of_an_address_or_a_header(text: str, shown: str) -> None:
    for form in (LogFormat.JSON, LogFormat.TEXT):
        stream = Lines()
        with logging_to(stream, form):
            log.error("%s", text, extra={"url": text})
        assert "hunter2" not in stream.getvalue()
    stream = Lines()
    with logging_to(stream, LogFormat.JSON):
        log.error("%s", text, extra={"url": text})
    (line,) = stream.documents
    assert (line["message"], line["url"]) == (shown, shown)


@pytest.mark.parametrize("name", ["token", "api_token", "Authorization", "hf-secret", "password"])
def test_a_field_that_is_named_like_a_secret_is_not_shown(name: str) -> None:
    stream = Lines()
    with logging_to(stream, LogFormat.JSON):
        log.info("x", extra={name: "hunter2"})
    assert stream.documents[0][name] == "…"


def test_an_exception_is_one_line_of_json() -> None:
    stream = Lines()
    with logging_to(stream, LogFormat.JSON):
        try:
            int("https://h.example/x?key=hunter2")
        except ValueError:
            log.exception("it broke")
    (line,) = stream.documents
    assert "https://h.example/x" in str(line["exception"])
    assert "hunter2" not in stream.getvalue()


def test_other_packages_are_heard_when_something_is_wrong_and_silent_otherwise() -> None:
    stream = Lines()
    with logging_to(stream, LogFormat.JSON):
        for name in ("uvicorn.error", "httpx", "httpcore.http11", "apscheduler.scheduler", "asyncio", "some.package"):
            logging.getLogger(name).info("GET / 200")
            logging.getLogger(name).error("broken")
        logging.getLogger("uvicorn.access").error("127.0.0.1 GET /healthz 200")
    assert [line["logger"] for line in stream.documents] == [
        "uvicorn.error",
        "httpx",
        "httpcore.http11",
        "asyncio",
        "some.package",
    ]


def test_warnings_are_lines_too() -> None:
    stream = Lines()
    with logging_to(stream, LogFormat.JSON), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("something is deprecated", DeprecationWarning, stacklevel=1)
    assert "something is deprecated" in str(stream.documents[0]["message"])


def test_a_terminal_gets_columns_and_nothing_that_steers_it() -> None:
    stream = Lines()
    stream.is_terminal = True
    with logging_to(stream):
        log.error("two\nlines \x1b[2Jand an escape", extra={"object": "models/\x1b[31mqwen"})
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "error" in text
    assert "two\n    lines \\x1b[2Jand an escape" in text
    assert "models/\\x1b[31mqwen" in text


def test_a_level_decides_what_is_written() -> None:
    stream = Lines()
    with logging_to(stream, LogFormat.JSON, LogLevel.WARNING):
        log.info("a")
        log.warning("b")
    with logging_to(stream, LogFormat.JSON, LogLevel.DEBUG):
        log.debug("c")
    assert [line["message"] for line in stream.documents] == ["b", "c"]


def test_afterwards_logging_is_as_it_was() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("uvicorn").level, log.getEffectiveLevel()
    with logging_to(Lines()):
        assert root.handlers != before[0]
    assert (root.handlers[:], root.level, logging.getLogger("uvicorn").level, log.getEffectiveLevel()) == before


def test_a_line_that_cannot_be_written_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    stream = Lines()
    with logging_to(stream, LogFormat.JSON):
        stream.close()
        log.error("nobody hears this")
    capfd.readouterr()
