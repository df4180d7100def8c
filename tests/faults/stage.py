"""Builds the world of a row of the fault matrix over real sockets, lets the download run in it, and measures."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.cas import layout
from reconciler.clock import SystemClock
from reconciler.core.egress import host_port
from reconciler.core.job import Code
from reconciler.core.source import HuggingFaceFile, Source, WebFile
from reconciler.core.stored import PartMeta
from reconciler.net.client import Session
from reconciler.net.wire import Resolve, resolve_by_system
from reconciler.origins.catalog import SourceOrigins
from tests.fakes.line import FaultyLine
from tests.fakes.origin import Fault, OriginSimulator
from tests.faults.process import Came, Download, command, told
from tests.faults.world import NAME, Disk, End, Expected, Left, Meta, Part, Secure, World, content
from tests.fixtures.certificate import make_certificate
from tests.patience import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
HUB_FILE = HuggingFaceFile("org/repo", "0" * 40, "m.gguf")
SECRET = "s3cret"
STRACE = ("strace", "-f", "-qqq", "-o", os.devnull)


@dataclass(frozen=True)
class Measured:
    """What came of a row, in the terms of what is expected."""

    end: End
    code: Code | None
    part: Part
    requests: int
    sent: float
    """In sizes of the file."""
    way: tuple[Code, ...]
    message: str

    def __str__(self) -> str:
        code = f" {self.code}" if self.code else ""
        way = f", after {' '.join(self.way)}" if self.way else ""
        kept = "" if self.part is Part.GONE else f"; the part {'is kept' if self.part is Part.KEPT else self.part}"
        return f"{self.end}{code}; {self.requests} asked, {self.sent:.2f} sent{way}{kept}"

    def differences(self, expected: Expected) -> list[str]:
        """What is not as expected."""
        pairs = (
            ("outcome", expected.end, self.end),
            ("code", expected.code, self.code),
            ("part", expected.part, self.part),
            ("requests", expected.requests, self.requests),
            ("on the way", expected.way, self.way),
        )
        found = [f"{what}: wanted {wanted}, got {got}" for what, wanted, got in pairs if wanted != got]
        if self.sent > expected.sent:
            found.append(f"body bytes: wanted at most {expected.sent:g} sizes, got {self.sent:g}")
        return found


class Stage:
    """One row's servers, line and store; nothing of it is left when the context ends."""

    def __init__(self, world: World, folder: Path, certificates: Certificates) -> None:
        self.world = world
        self.folder = folder
        self._content = content(world.size)
        self._certificates = certificates
        self._stack = contextlib.ExitStack()
        self._sessions: list[Session] = []

    def __enter__(self) -> Stage:
        threads, files = threading.active_count(), _open_files()
        self._stack.callback(_nothing_is_left, threads, files)
        world, enter = self.world, self._stack.enter_context
        tls = self._certificates.of(world.secure) if world.secure else None
        self.origin = enter(OriginSimulator(tls=tls))
        self.other = enter(OriginSimulator())
        port = self.origin.port
        if world.line is not None:
            port = enter(FaultyLine(port, script=world.line)).port
        host = world.host or (NAME if world.secure else "127.0.0.1")
        self.base = f"{'https' if tls else 'http'}://{host}:{port}"
        self._put()
        if not world.listening:
            self.origin.stop()
        self.download = self._download()
        if world.left is not None:
            self._leave(world.left)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> Measured:
        """Every process has tried, and nothing is under way."""
        world = self.world
        came = [self._first(), *(self.download.run() for _ in range(world.runs - 1))]
        seen = [*self.origin.requests, *self.other.requests]
        sent = sum(each.body_bytes for each in seen)
        if world.line is not None or world.always.raw is not None:
            sent = sum(each.bytes_in for each in came)  # what servers push into a line or a raw answer is not counted
        return Measured(
            came[-1].end,
            came[-1].code,
            self._part(came[-1].end),
            len(seen),
            sent / world.size,
            tuple(code for each in came for code in each.way),
            came[-1].message,
        )

    def check(self) -> list[str]:
        """What must hold whatever the row is, and does not."""
        blobs = (self.folder / "store" / "by-hash").iterdir()
        wrong = (blob for blob in blobs if blob.name != self.download.digest or blob.read_bytes() != self._content)
        found = [f"{blob.name} is published and wrong" for blob in wrong]
        if any("authorization" in seen.headers for seen in self.other.requests):
            found.append("a secret went to another host")
        expects_secret = self.world.password or self.world.hub
        if expects_secret and not all("authorization" in seen.headers for seen in self.origin.requests):
            found.append("the secret did not go to its host")
        return found

    def afterwards(self) -> Came:
        """What comes of one more process in which no disk fails."""
        return self.download.run()

    # ---- building -----------------------------------------------------------------------------

    def _put(self) -> None:
        world, origin = self.world, self.origin
        heads = [self._filled(fault) for fault in world.heads]
        path = f"/{HUB_FILE.repo}/resolve/{HUB_FILE.commit}/{HUB_FILE.path}" if world.hub else "/m"
        places = ((path, world.script, world.always), *world.places)
        for place, script, always in places:
            answers = [self._filled(fault) for fault in script]
            origin.put(
                place,
                self._content,
                script=answers,
                heads=heads if place == path else (),
                always=self._filled(always),
                etag=world.etag,
                last_modified=world.last_modified,
            )
        self.other.put("/m", self._content, always=world.other, etag=world.etag)

    def _filled(self, fault: Fault) -> Fault:
        if fault.redirect is None:
            return fault
        return replace(fault, redirect=fault.redirect.format(other=self.other.url(""), other_port=self.other.port))

    def _download(self) -> Download:
        world = self.world
        return Download(
            self.folder,
            self._sources(),
            world.size,
            world.declared,
            world.segments,
            world.budgets,
            world.retries,
            world.egress,
            SourceOrigins(self.base, lambda: SECRET, exempt=host_port(self.base)) if world.hub else SourceOrigins(),
            self._session,
        )

    def _sources(self) -> tuple[Source, ...]:
        first = f"{self.base}/m".replace("://", f"://me:{SECRET}@" if self.world.password else "://")
        mirror = (WebFile(self.other.url("/m")),) if self.world.mirror else ()
        return (HUB_FILE if self.world.hub else WebFile(first), *mirror)

    def _session(self) -> Session:
        clock = SystemClock()
        if self.world.secure is None:
            return Session(clock, resolve=self._resolver())
        context = self._certificates.trusting(self.world.secure)
        return Session(clock, resolve=self._resolver(), tls=lambda: context)

    def _resolver(self) -> Resolve:
        def resolve(host: str, port: int) -> tuple[str, ...]:
            return self.world.addresses if host == NAME else resolve_by_system(host, port)

        return resolve

    def _leave(self, left: Left) -> None:
        other = left.meta is Meta.OTHER_SOURCE
        url = self.other.url("/elsewhere") if other else f"{self.base}/m"
        with self.download.store().open_part(self.download.digest) as part:
            part.put_meta(PartMeta(((url, left.validator),), left.total_bytes))
            part.write(self._content[: left.good_bytes] + left.junk)
        meta = self.folder / "store" / layout.part_meta(self.download.digest)
        match left.meta:
            case Meta.RIGHT | Meta.OTHER_SOURCE:
                pass
            case Meta.MISSING:
                meta.unlink()
            case Meta.CORRUPT:
                meta.write_bytes(meta.read_bytes()[:-20])
            case Meta.FUTURE:
                meta.write_bytes(meta.read_bytes().replace(b'"format":1', b'"format":99'))

    # ---- running ------------------------------------------------------------------------------

    def _first(self) -> Came:
        world = self.world
        if world.killed:
            return self._killed()
        if world.disk is not None or world.file_limit is not None:
            return self._troubled(world.disk, world.file_limit)
        return self.download.run(stop_when=self._half_there if world.stopped else None)

    def _half_there(self) -> bool:
        part = self.folder / "store" / layout.part(self.download.digest)
        return part.exists() and part.stat().st_size >= self.world.size // 2

    def _killed(self) -> Came:
        with _started(command(self.download, None)) as process:
            until(self._half_there)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)
        return Came(End.WAITS, None, "", (), 0)

    def _troubled(self, disk: Disk | None, limit: int | None) -> Came:
        words = command(self.download, limit)
        if disk is not None:
            self.download.store()
            calls = ",".join(f"?{call}" for call in disk.calls)
            path = self.folder / "store" / disk.path.format(sha=self.download.digest)
            when = "1" if disk.once else "1+"
            inject = ("-P", str(path), "-e", f"trace={calls}", "-e", f"inject={calls}:error={disk.error}:when={when}")
            words = [*STRACE, *inject, *words]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return told(done.stdout)

    def _part(self, end: End) -> Part:
        store = self.folder / "store"
        if end is not End.PUBLISHED and (store / "by-hash" / self.download.digest).exists():
            return Part.BLOB
        names = (layout.part(self.download.digest), layout.part_meta(self.download.digest))
        return Part.KEPT if any((store / name).exists() for name in names) else Part.GONE


class Certificates:
    """What servers show and what clients trust; made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[Secure, tuple[str, str]] = {}

    def of(self, secure: Secure) -> tuple[str, str]:
        """(certificate file, key file)."""
        if secure not in self._made:
            name = "other.example" if secure is Secure.OTHER_NAME else NAME
            folder = self._folder / secure.name.lower()
            folder.mkdir()
            self._made[secure] = make_certificate(folder, name, expired=secure is Secure.EXPIRED)
        return self._made[secure]

    def trusting(self, secure: Secure) -> ssl.SSLContext:
        """What a client trusts that meets such a server."""
        trusted = Secure.TRUSTED if secure is Secure.UNKNOWN else secure
        return ssl.create_default_context(cafile=self.of(trusted)[0])


@contextlib.contextmanager
def _started(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(words, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _nothing_is_left(threads: int, files: int) -> None:
    until(lambda: threading.active_count() <= threads, lambda: f"threads: {threading.enumerate()}")
    until(lambda: _open_files() <= files, lambda: f"open files: {_open_files()}, before {files}")
