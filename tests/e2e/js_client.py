"""The JavaScript client as a process, and a proxy that cuts its connections."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.state_rig import settled
from tests.require import require

SOURCE = Path(__file__).parent / "js"
INSTALL_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 60


def install(folder: Path) -> Path:
    """The client with its packages is in `folder`; skips the test where node or npm or the registry is missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    require(node and npm, "node and npm are not installed")
    for name in ("package.json", "client.js"):
        shutil.copy(SOURCE / name, folder / name)
    command = [str(npm), "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        require(False, "npm could not install the JavaScript client in time")
        raise
    require(done.returncode == 0, f"npm could not install the JavaScript client: {done.stderr[-500:]}")
    return folder / "client.js"


@dataclass(frozen=True)
class Followed:
    """What the client held and had gone through at the end."""

    documents: dict[str, Any]
    gaps: list[Any]
    """Patches that did not fit, without a `resync` that says so."""
    patches: int
    snapshots: int
    connects: int
    resyncs: int
    reached: bool
    """Whether it came to the revisions that it was told."""


class JavaScriptClient:
    """A running client of the node at `base`."""

    def __init__(self, script: Path, base: str, token: str | None = None) -> None:
        command = ["node", str(script), base, *([token] if token else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> None:
        """It holds a snapshot of every document."""
        assert self._said()["event"] == "ready"

    def finish(self, documents: dict[str, Any]) -> Followed:
        """What it holds as soon as it has the revisions of `documents`."""
        revs = {name: document["rev"] for name, document in documents.items()}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"revs": revs}) + "\n")
        self._process.stdin.flush()
        said = self._said()
        return Followed(
            said["documents"], said["gaps"], said["patches"], said["snapshots"], said["connects"], said["resyncs"],
            said["reached"],
        )  # fmt: skip

    def _said(self) -> Any:
        assert self._process.stdout is not None
        watchdog = threading.Timer(ANSWER_TIMEOUT_S, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        assert line, "the JavaScript client has ended"
        return json.loads(line)


class CuttingProxy:
    """Forwards connections to a port on loopback, until it is told to cut them."""

    def __init__(self, port: int) -> None:
        self.port = port
        """Where it forwards to."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Every connection is reset, in the middle of whatever it carries."""
        with self._lock:
            cut, self._open = self._open, set()
        for each in cut:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)
        self.cuts += 1

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.port))
            except OSError:  # the node is away
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(source)
        source.close()


@dataclass(frozen=True)
class Ride:
    """What the client held at the end, and what the server had."""

    followed: Followed
    documents: dict[str, Any]


def follow_through(script: Path, port: int, drive: Callable[[CuttingProxy], None], token: str | None = None) -> Ride:
    """The client follows the node on `port` while `drive` changes it, cuts connections and restarts it.

    A node that comes back on another port is told by setting `proxy.port`.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with CuttingProxy(port) as proxy, JavaScriptClient(script, proxy.base, token) as client:
        client.ready()
        drive(proxy)
        documents = settled(f"http://127.0.0.1:{proxy.port}", headers)
        return Ride(client.finish(documents), documents)
