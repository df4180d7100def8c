"""The git source over https: a real server of git, credentials, redirects, and certificates."""

from __future__ import annotations

import base64
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.loop.git.location import git_location
from reconciler.loop.git.mirror import GitAccess
from reconciler.loop.git.source import GitSource
from reconciler.loop.source import SourceRead
from tests.fakes.clock import FakeClock
from tests.fakes.git_repository import GitRepository
from tests.require import require
from tests.unit.loop.git.test_source import manifest

pytestmark = pytest.mark.e2e


class GitServer:
    """`git http-backend` behind https on loopback, for whoever knows the password."""

    def __init__(self, folder: Path, certificate: tuple[Path, Path]) -> None:
        self.authorizations: list[str | None] = []
        self.password = "hunter2"
        self.redirect_to: str | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                server.authorizations.append(self.headers["Authorization"])
                if server.redirect_to is not None:
                    self._answer(302, (("Location", server.redirect_to + self.path),), b"")
                elif not server._knows(self.headers["Authorization"]):
                    self._answer(401, (("WWW-Authenticate", 'Basic realm="git"'),), b"")
                else:
                    self._answer(*_backend(folder, self, body))

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — http.server names it
                return

            def _answer(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, user: str = "") -> str:
        return f"https://{user}127.0.0.1:{self._http.server_address[1]}/remote.git"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _knows(self, authorization: str | None) -> bool:
        login = base64.b64decode((authorization or "").removeprefix("Basic ")).decode()
        return login.partition(":")[2] == self.password


def _backend(
    folder: Path, request: BaseHTTPRequestHandler, body: bytes
) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    path, _, query = request.path.partition("?")
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": request.command,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = tuple((n, v.strip()) for n, _, v in (line.partition(":") for line in head.decode().splitlines()))
    status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
    return status, tuple(pair for pair in headers if pair[0] != "Status"), content


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    require(shutil.which("openssl"), "the openssl command makes the certificate of this test")
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *made, *subject, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "git")
    made.commit({"manifests/a.yaml": manifest("one")})
    return made


@pytest.fixture
def server(repository: GitRepository, certificate: tuple[Path, Path]) -> Iterator[GitServer]:
    made = GitServer(repository.bare.parent, certificate)
    yield made
    made.close()


def _looked(
    tmp_path: Path, url: str, *, token: str | None = None, authority: Path | None = None, **variables: str
) -> SourceRead:
    trusted = {} if authority is None else {"GIT_SSL_CAINFO": str(authority)}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **trusted, **variables}
    access = GitAccess(environment, lambda: token)
    source = GitSource(git_location(url, "main", "manifests"), tmp_path / "state", access, FakeClock(), 60.0)
    source.look()
    return source.read()


def test_a_token_opens_the_repository(server: GitServer, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    read = _looked(tmp_path, server.url(), token="hunter2", authority=certificate[0])
    assert read.desired is not None, read.status.message
    assert list(read.desired.models) == ["one"]
    assert "hunter2" not in "".join(
        path.read_text("latin-1") for path in (tmp_path / "state").rglob("*") if path.is_file()
    )


def test_a_password_in_the_url_opens_it_too(server: GitServer, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    read = _looked(tmp_path, server.url("bot:hunter2@"), authority=certificate[0])
    assert read.desired is not None, read.status.message
    assert read.status.location == f"{server.url()}#main:manifests"


@pytest.mark.parametrize("token", [None, "wrong-token"])
def test_a_missing_or_wrong_token_is_told_without_showing_it(
    server: GitServer, certificate: tuple[Path, Path], tmp_path: Path, token: str | None
) -> None:
    read = _looked(tmp_path, server.url(), token=token, authority=certificate[0])
    assert (read.desired, read.reason) == (None, "SourceUnreachable")
    assert server.url() in read.status.message
    assert "wrong-token" not in read.status.message


def test_a_token_does_not_follow_a_redirect(
    server: GitServer, certificate: tuple[Path, Path], repository: GitRepository, tmp_path: Path
) -> None:
    other = GitServer(repository.bare.parent, certificate)
    server.redirect_to = other.url().removesuffix("/remote.git")
    read = _looked(tmp_path, server.url(), token="hunter2", authority=certificate[0])
    other.close()
    assert read.reason == "SourceUnreachable"
    assert (len(server.authorizations), other.authorizations) == (1, [])


def test_a_certificate_of_nobody_known_is_refused(server: GitServer, tmp_path: Path) -> None:
    read = _looked(tmp_path, server.url(), token="hunter2", GIT_SSL_NO_VERIFY="1")
    assert read.reason == "SourceUnreachable"
    assert "certificate" in read.status.message
    assert server.authorizations == []
