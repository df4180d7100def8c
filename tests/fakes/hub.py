"""A hub on loopback: Hugging Face's resolve API over real files, `<folder>/<org>/<repo>/<commit>/<path>`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import cast
from urllib.parse import unquote, urlsplit

_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)").fullmatch
_RANGE = re.compile(r"bytes=(\d*)-(\d*)").fullmatch
_SLICE = 2**20


@dataclass(slots=True)
class HubRequest:
    """One request as the hub saw it; `body_bytes` counts what was handed to the socket, slice by slice."""

    method: str
    path: str
    range: str | None
    if_range: str | None
    authorization: str | None
    status: int = 0
    body_bytes: int = 0


class Hub:
    """Serves `folder` while its context is open; with a `token` every request must carry it."""

    def __init__(self, folder: Path, *, token: str | None = None) -> None:
        self.folder = folder
        self.token = token
        self.requests: list[HubRequest] = []
        self._server = _Server(self)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def endpoint(self) -> str:
        """What `HF_ENDPOINT` must be set to."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def body_bytes(self) -> int:
        """Body bytes of all requests together."""
        return sum(request.body_bytes for request in self.requests)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    commit: str
    size_bytes: int
    sha256: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self._digests = _Digests()

    def find(self, target: str) -> _File | str:
        """The file that a resolve URL names, or the hub's error code."""
        found = _RESOLVE(unquote(urlsplit(target).path))
        if not found:
            return "RepoNotFound"
        repo, commit, inner = found.groups()
        if not (self.hub.folder / repo).is_dir():
            return "RepoNotFound"
        revision = self.hub.folder / repo / commit
        if not revision.is_dir():
            return "RevisionNotFound"
        path = revision / inner
        if ".." in path.parts or not path.is_file():
            return "EntryNotFound"
        return _File(path, commit, path.stat().st_size, self._digests.of(path))


@dataclass(slots=True)
class _Digests:
    known: dict[tuple[Path, int], str] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def of(self, path: Path) -> str:
        key = (path, path.stat().st_mtime_ns)
        with self.lock:
            if key not in self.known:
                with path.open("rb") as stream:
                    self.known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            return self.known[key]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return cast("_Server", self.server).hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class names it
        """Stay silent: the request log is `Hub.requests`."""

    def _answer(self) -> None:
        seen = self._record()
        if self.hub.token is not None and seen.authorization != f"Bearer {self.hub.token}":
            status = HTTPStatus.FORBIDDEN if seen.authorization else HTTPStatus.UNAUTHORIZED
            self._refuse(seen, status, "GatedRepo")
            return
        file = cast("_Server", self.server).find(self.path)
        if isinstance(file, str):
            self._refuse(seen, HTTPStatus.NOT_FOUND, file)
        else:
            self._send(seen, file)

    def _record(self) -> HubRequest:
        header = self.headers.get
        seen = HubRequest(self.command, self.path, header("Range"), header("If-Range"), header("Authorization"))
        self.hub.requests.append(seen)
        return seen

    def _refuse(self, seen: HubRequest, status: HTTPStatus, code: str) -> None:
        seen.status = status
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, seen: HubRequest, file: _File) -> None:
        asked = _asked_range(seen, file)
        window = _window(asked, file.size_bytes) if asked else range(file.size_bytes)
        if asked and not window:
            seen.status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            self.send_response(seen.status)
            self.send_header("Content-Range", f"bytes */{file.size_bytes}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        seen.status = HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK
        self._send_head(seen, file, window)
        if self.command == "GET":
            self._send_body(seen, file, window)

    def _send_head(self, seen: HubRequest, file: _File, window: range) -> None:
        self.send_response(seen.status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(window)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{file.sha256}"')
        self.send_header("X-Linked-ETag", f'"{file.sha256}"')
        self.send_header("X-Linked-Size", str(file.size_bytes))
        self.send_header("X-Repo-Commit", file.commit)
        if seen.status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {window.start}-{window.stop - 1}/{file.size_bytes}")
        self.end_headers()

    def _send_body(self, seen: HubRequest, file: _File, window: range) -> None:
        with file.path.open("rb") as stream:
            stream.seek(window.start)
            left = len(window)
            while left:
                data = stream.read(min(_SLICE, left))
                left -= len(data)
                seen.body_bytes += len(data)
                try:
                    self.wfile.write(data)
                except ConnectionError:  # the client went away: what it got is counted
                    self.close_connection = True
                    return


def _asked_range(seen: HubRequest, file: _File) -> tuple[str, str] | None:
    """First and last byte as written; None without a usable range, or when If-Range names another version."""
    found = _RANGE(seen.range or "")
    if not found or found.groups() == ("", "") or seen.if_range not in (None, f'"{file.sha256}"'):
        return None
    return found.group(1), found.group(2)


def _window(asked: tuple[str, str], size_bytes: int) -> range:
    """The bytes of the file that lie in the range asked for (RFC 9110, section 14.1.2)."""
    first, last = asked
    if not first:
        return range(max(0, size_bytes - int(last)), size_bytes)
    return range(int(first), min(int(last) + 1, size_bytes) if last else size_bytes)
