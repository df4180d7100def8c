"""What the download benchmark fetches from: nginx with one worker and sendfile if there is one, else our origin."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMIT = "0" * 40
HUB_PATH = f"bench/model/resolve/{COMMIT}/m.gguf"
BLOCK = 2**20
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn; {user}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    root {folder}/www;
    location /bench/ {{
      add_header X-Repo-Commit {commit}; add_header X-Linked-Etag '"{digest}"'; add_header X-Linked-Size {size};
    }}
    location /limited/ {{ limit_rate 50m; alias {folder}/www/; }}
  }}
}}
"""
ORIGIN = """
import sys
from pathlib import Path
from tests.fakes.origin import Fault, OriginSimulator
folder, commit, digest, hub_path = sys.argv[1:]
folder = Path(folder)
big = folder / "www/m"
head = (("X-Repo-Commit", commit), ("X-Linked-Etag", f'"{digest}"'), ("X-Linked-Size", str(big.stat().st_size)))
with OriginSimulator() as plain, OriginSimulator(tls=(f"{folder}/cert.pem", f"{folder}/key.pem")) as secure:
    for origin in (plain, secure):
        origin.put("/m", big)
        origin.put(f"/{hub_path}", big, always=Fault(headers=head))
        origin.put("/limited/m", big, always=Fault(bytes_per_s=50 * 2**20))
        for path in (folder / "www/small").iterdir():
            origin.put(f"/small/{path.name}", path)
    print(plain.port, secure.port, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Served:
    """Where everything is."""

    name: str
    port: int
    tls_port: int
    certificate: Path
    digest: str
    """Of the big file."""
    small: dict[str, str]
    """Name → digest."""

    @property
    def big(self) -> str:
        return f"http://127.0.0.1:{self.port}/m"

    @property
    def tls(self) -> str:
        return f"https://localhost:{self.tls_port}/m"

    @property
    def limited(self) -> str:
        return f"http://127.0.0.1:{self.port}/limited/m"

    @property
    def hub(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def small_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/small/{name}"


@contextmanager
def serving(folder: Path, mib: int, small_files: int) -> Iterator[Served]:
    """A big file of `mib` MiB and `small_files` of 64 KiB are served until the context ends."""
    (folder / "www" / "small").mkdir(parents=True)
    digest = _write_big(folder / "www" / "m", mib)
    hub = folder / "www" / HUB_PATH
    hub.parent.mkdir(parents=True)
    hub.symlink_to(folder / "www" / "m")
    small = {str(number): _write_small(folder / "www" / "small" / str(number), number) for number in range(small_files)}
    _write_certificate(folder)
    start = _nginx if shutil.which("nginx") else _origin
    with start(folder, digest, mib * BLOCK) as (port, tls_port):
        name = start.__name__.strip("_")
        yield Served(name, port, tls_port, folder / "cert.pem", digest, small)


def _write_big(path: Path, mib: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(mib):
            block = hashlib.shake_128(number.to_bytes(8, "big")).digest(4096) * 256
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def _write_small(path: Path, number: int) -> str:
    data = hashlib.shake_128(b"small" + number.to_bytes(8, "big")).digest(64 * 1024)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _write_certificate(folder: Path) -> None:
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    subprocess.run(["openssl", "req", "-x509", *made, *subject, *files], check=True, capture_output=True)


@contextmanager
def _nginx(folder: Path, digest: str, size_bytes: int) -> Iterator[tuple[int, int]]:
    port, tls_port = _free_ports()
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is ours alone
    text = NGINX.format(
        folder=folder, port=port, tls_port=tls_port, commit=COMMIT, digest=digest, size=size_bytes, user=user
    )
    (folder / "nginx.conf").write_text(text)
    server = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        _await(port)
        yield port, tls_port
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _origin(folder: Path, digest: str, size_bytes: int) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-c", ORIGIN, str(folder), COMMIT, digest, HUB_PATH]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port, tls_port = server.stdout.readline().split()
        yield int(port), int(tls_port)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _await(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SystemExit("nginx did not begin to listen")
