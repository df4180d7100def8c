"""A running `reconcile serve`: what it answers, what it logs, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.machine import Machine
from tests.patience import PATIENCE_S, until


class Serving:
    """One process; its log is read all the time, so that it never waits for a reader."""

    def __init__(self, machine: Machine, *words: str | Path) -> None:
        self.machine = machine
        where = words if any(str(word).startswith("--git") for word in words) else (machine.manifests, *words)
        self.process = machine.start("serve", *where, "--listen", "127.0.0.1:0")
        self.lines: list[str] = []
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        self._url: str | None = None

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    @property
    def url(self) -> str:
        """Where its state API answers."""
        if self._url is None:
            self.until(lambda: any("serving " in line for line in self.lines))
            line = next(line for line in self.lines if "serving " in line)
            self._url = "http://" + line.partition("http://")[2].split('"')[0].split()[0]
        return self._url

    def until(self, condition: Any) -> None:
        """The condition holds; fails if the process ends before."""

        def holds() -> object:
            assert self.process.poll() is None, f"it ended early with {self.process.returncode}:\n{self.log}"
            return condition()

        until(holds, lambda: self.log)

    @property
    def log(self) -> str:
        """Everything it has logged so far."""
        return "\n".join(self.lines)

    def get(self, path: str) -> Any:
        """The answer to a request, as JSON; None unless it is 200."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=PATIENCE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            return None

    def condition(self, obj: str, kind: str = "Ready") -> dict[str, Any]:
        """The condition as the state API shows it; empty if there is none."""
        item = self.get("/state/conditions")["items"].get(obj, {"conditions": []})
        return next((row for row in item["conditions"] if row["type"] == kind), {})

    def reason(self, obj: str, kind: str = "Ready") -> str | None:
        """Why the condition is as it is."""
        found: str | None = self.condition(obj, kind).get("reason")
        return found

    def until_ready(self, *objects: str) -> None:
        """All of them, or the node, are as declared."""
        self.until(lambda: self.get("/readyz"))
        for obj in objects or ("node",):
            self.until(lambda obj=obj: self.condition(obj).get("status"))

    @contextlib.contextmanager
    def streams(self, count: int) -> Iterator[list[socket.socket]]:
        """So many clients of the event stream that read nothing."""
        at = urlsplit(self.url)
        request = f"GET /events HTTP/1.1\r\nHost: {at.netloc}\r\nAccept: text/event-stream\r\n\r\n".encode()
        opened: list[socket.socket] = []
        try:
            for _ in range(count):
                stream = socket.create_connection((at.hostname or "", at.port or 0), timeout=PATIENCE_S)
                opened.append(stream)
                stream.sendall(request)
                assert stream.recv(15) == b"HTTP/1.1 200 OK"
            yield opened
        finally:
            for stream in opened:
                stream.close()

    def hang_up(self) -> None:
        """It is told to reload."""
        self.process.send_signal(signal.SIGHUP)

    def end(self, signum: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """It got the signal and has ended: with which code, and how long that took."""
        began = time.monotonic()
        os.kill(self.process.pid, signum)
        code = self.process.wait(timeout=PATIENCE_S)
        took_s = time.monotonic() - began
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code, took_s


@contextlib.contextmanager
def serving(machine: Machine, *words: str | Path) -> Iterator[Serving]:
    """`serve` runs; it is killed at the end if it still does."""
    service = Serving(machine, *words)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.end(signal.SIGKILL)


def ended(machine: Machine, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A `serve` that could not start."""
    ran = machine.run("serve", *words)
    return subprocess.CompletedProcess(words, ran.exit_code, ran.out, ran.err)
