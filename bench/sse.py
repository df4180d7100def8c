"""A thousand readers of the event stream and one that stands still.

python bench/sse.py [--readers 1000] [--seconds 60] [--downloads 40] [--ring-bytes 1048576] [--check]

Three processes: the server (state API with a SQLite registry, passes and downloads made up), the
readers (bare sockets and epoll), and this one. All readers are connected before anything moves. At
the end each must have come to the server's revisions by patches that fit each other, except where a
`resync` said so; one reader's patches are applied to first snapshots and must give the server's
documents; the one that stood still must be told `resync`. The delay of an event is the time from
the moment its figures were taken to the moment a reader has it. Prints figures; with `--check` the
exit code says whether all were equal, the stalled one was told, and memory grew by less than 200 MiB.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import jsonpatch

sys.path.insert(0, str(Path(__file__).parents[1]))
from reconciler.clock import SystemClock
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.transfers import Concurrency, Figures, Progress
from reconciler.publish.publisher import PublisherOptions
from reconciler.publish.ring import RingSize
from reconciler.publish.service import ApiConfig, StateApi
from reconciler.registry.sqlite import SqliteRegistry
from tests.builders import digest
from tests.e2e.state_rig import status_of

MOST_GROWTH_MIB = 200
DELAYS = (("p50", "p50_ms"), ("p99", "p99_ms"), ("most", "max_ms"))
MICROS = 1_000_000
FIGURE = re.compile(rb'"downloaded":(\d+)')
QUIET_S = 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", nargs="?", default="all", choices=("all", "server", "readers"))
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--downloads", type=int, default=40)
    parser.add_argument("--ring-bytes", type=int, default=2**20)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    if options.role == "server":
        return serve(options)
    if options.role == "readers":
        return read(options)
    return orchestrate(options)


# ---- the whole -----------------------------------------------------------------------------------


class Role:
    """Another process of this program that is told and asked line by line."""

    def __init__(self, role: str, options: argparse.Namespace, port: int = 0) -> None:
        command = [sys.executable, __file__, role, "--port", str(port), "--readers", str(options.readers)]
        command += ["--seconds", str(options.seconds), "--downloads", str(options.downloads)]
        command += ["--ring-bytes", str(options.ring_bytes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[2]} has ended")
        return json.loads(line)

    def say(self, **words: object) -> None:
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()


def orchestrate(options: argparse.Namespace) -> int:
    server = Role("server", options)
    readers = None
    try:
        port = server.hear()["port"]
        before = usage(server.process.pid)
        snapshots = documents(port)
        readers = Role("readers", options, port)
        readers.hear()  # all are connected and greeted
        idle = usage(server.process.pid)
        server.say(go=True)
        server.hear()  # it has stopped moving
        server_end = usage(server.process.pid)
        time.sleep(1.0)
        readers.say(end=True)
        found = readers.hear()
        now = documents(port)
        frames = Path(found["frames"]).read_bytes()
        growth_mib = (server_end["peak_kib"] - before["rss_kib"]) / 1024
        revs = {name: document["rev"] for name, document in now.items()}
        equal = sum(each == revs for each in found["revs"])
        is_equal = equal == options.readers and found["gaps"] == 0
        if found["resyncs_of_first"] == 0:
            is_equal = is_equal and replay(snapshots, frames) == now
        events = found["events"]
        cpu_s = server_end["cpu_s"] - idle["cpu_s"]
        print(f"readers                {options.readers} + 1 that stands still")
        print(
            f"events                 {events} to each, {events * options.readers / options.seconds:,.0f} per s in all"
        )
        print(f"bytes                  {len(frames) / 2**20:.1f} MiB to each")
        delays = ", ".join(f"{name} {found[key]:.0f} ms" for name, key in DELAYS)
        print(f"delay                  {delays}")
        print(f"server CPU             {cpu_s / options.seconds:.0%} of one core")
        kib = (before["rss_kib"], idle["rss_kib"], server_end["peak_kib"])
        sizes = ", ".join(f"{each / 1024:.0f} MiB" for each in kib)
        print(f"server memory          before, with readers, at most: {sizes}: +{growth_mib:.0f} MiB")
        print(f"equal to server        {equal} of {options.readers}, {found['gaps']} gaps, {found['resyncs']} resyncs")
        print(f"stalled one resynced   {found['stalled_resynced']}")
        good = is_equal and found["stalled_resynced"] and growth_mib < MOST_GROWTH_MIB
        return 0 if good or not options.check else 1
    finally:
        for role in (readers, server):
            if role is not None:
                role.process.kill()
                role.process.communicate()


def usage(pid: int) -> dict:
    status = Path(f"/proc/{pid}/status").read_text()
    figures = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return {"rss_kib": int(figures["VmRSS"]), "peak_kib": int(figures["VmHWM"]), "cpu_s": ticks / 100}


def documents(port: int) -> dict:
    base = f"http://127.0.0.1:{port}"
    paths = json.load(urlopen(f"{base}/openapi.json"))["paths"]
    names = [path.removeprefix("/state/") for path in paths if path.startswith("/state/") and "{" not in path]
    return {name: json.load(urlopen(f"{base}/state/{name}")) for name in names}


def replay(snapshots: dict, frames: bytes) -> dict:
    """The snapshots after all patches of the frames."""
    for frame in frames.split(b"\n\n"):
        if b"\nevent: state.read.model.patch\n" not in frame:
            continue
        data = json.loads(frame.partition(b"\ndata: ")[2])
        document = snapshots[data["id"]]
        if data["rev"] <= document["rev"]:
            continue
        if data["base_rev"] != document["rev"]:
            raise SystemExit(f"gap in {data['id']}: at {document['rev']}, patch from {data['base_rev']}")
        patched = jsonpatch.apply_patch(document, data["patch"], in_place=True)
        snapshots[data["id"]] = {**patched, "rev": data["rev"]}
    return snapshots


# ---- the server ----------------------------------------------------------------------------------


class MadeUpLane:
    """What is downloaded is the time: so a reader sees how long it took to tell."""

    def __init__(self, specs: list[JobSpec]) -> None:
        self.specs = specs
        self.moving = False

    def progress(self) -> tuple[Progress, ...]:
        if not self.moving:
            return ()
        now = int(time.monotonic() * MICROS)
        return tuple(Progress(spec, "downloading", now, 2**50, "https://example.com/a.gguf") for spec in self.specs)

    def figures(self) -> Figures:
        return Figures(Concurrency(16, 0, 16, 16))


def serve(options: argparse.Namespace) -> int:
    names = [f"m{n}" for n in range(options.downloads)]
    specs = [JobSpec(JobKind.FETCH, digest(name), (f"models/{name}",), 2**50) for name in names]
    lane = MadeUpLane(specs)

    with tempfile.TemporaryDirectory() as folder:
        registry = SqliteRegistry(Path(folder) / "registry.sqlite3", SystemClock())
        config = ApiConfig(port=0, max_readers=options.readers + 10)
        ring = PublisherOptions(RingSize(total_bytes=options.ring_bytes))
        api = StateApi(config, registry, lane, SystemClock(), options=ring)
        _, port = api.start()
        api.publish(status_of((), tuple(names)))
        time.sleep(1.0)
        print(json.dumps({"port": port}), flush=True)
        sys.stdin.readline()
        lane.moving = True
        until_s = time.monotonic() + options.seconds
        number = 0
        while time.monotonic() < until_s:
            time.sleep(1.0)
            number += 1
            split = 0 if number % 2 else len(names)
            api.publish(status_of(tuple(names[:split]), tuple(names[split:]), number=number))
        lane.moving = False
        time.sleep(1.0)
        print(json.dumps({"done": number}), flush=True)
        sys.stdin.readline()
        api.stop(5.0)
        registry.close()
    return 0


# ---- the readers ---------------------------------------------------------------------------------


class Reader:
    """One connection; frames are taken from a chunked body and followed in order."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.rest = b""
        self.body = b""
        self.in_body = False
        self.revs: dict[str, int] = {}
        self.gaps = 0
        self.resyncs = 0
        self.events = 0
        self.greeted = False

    def feed(self, data: bytes) -> Frames:
        """The whole frames that are new, without comments."""
        if not self.in_body:
            _, blank, data = (self.rest + data).partition(b"\r\n\r\n")
            self.in_body, self.rest = bool(blank), b""
        body, self.rest = dechunked(self.rest + data)
        found, self.body = frames_in(self.body + body)
        self.greeted = self.greeted or found.greets
        for step in found.steps:
            self._take(step)
        self.events += len(found.steps)
        return found

    def _take(self, step: dict) -> None:
        """What a client does with an event, without the documents: they follow from the revisions."""
        if "revs" in step:  # greeted, or told to take snapshots
            self.resyncs += "reason" in step
            self.revs = dict(step["revs"])
        elif "patch" in step and step["rev"] > self.revs[step["id"]]:
            self.gaps += step["base_rev"] != self.revs[step["id"]]
            self.revs[step["id"]] = step["rev"]


class Frames(NamedTuple):
    """Frames that came together."""

    data: bytes
    steps: tuple[dict, ...]
    """Their payloads."""
    greets: bool
    figure: int | None
    """When the figures of the first progress in it were taken, in microseconds; None if there is none."""


# Readers that keep up receive the same bytes: they are taken apart once for all of them.
@functools.lru_cache(maxsize=64)
def dechunked(raw: bytes) -> tuple[bytes, bytes]:
    """The bodies of whole chunks, and what is left."""
    parts = []
    start = 0
    while (newline := raw.find(b"\r\n", start)) >= 0:
        end = newline + 2 + int(raw[start:newline], 16)
        if len(raw) < end + 2:
            break
        parts.append(raw[newline + 2 : end])
        start = end + 2
    return b"".join(parts), raw[start:]


@functools.lru_cache(maxsize=64)
def frames_in(body: bytes) -> tuple[Frames, bytes]:
    """The whole frames, and what is left."""
    whole, blank, rest = body.rpartition(b"\n\n")
    frames = [frame for frame in whole.split(b"\n\n") if b"\ndata: " in frame] if blank else []
    data = b"".join(frame + b"\n\n" for frame in frames)
    steps = tuple(json.loads(frame.partition(b"\ndata: ")[2]) for frame in frames)
    figure = FIGURE.search(data)
    greets = b"\nevent: service.connected\n" in data
    return Frames(data, steps, greets, int(figure.group(1)) if figure else None), rest


def read(options: argparse.Namespace) -> int:
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", options.port))
    stalled.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    readers = [Reader(options.port) for _ in range(options.readers)]
    poll = select.epoll()
    by_number = {reader.socket.fileno(): reader for reader in readers}
    for number, reader in by_number.items():
        reader.socket.setblocking(False)
        poll.register(number, select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    delays: list[float] = []
    frames = bytearray()
    told = False
    ending = False
    while True:
        ready = poll.poll(QUIET_S)
        if ending and not ready:
            report(readers, delays, frames, resynced(stalled))
            return 0
        for number, _ in ready:
            if number == sys.stdin.fileno():
                ending = True
                poll.unregister(number)
                continue
            reader = by_number[number]
            data = reader.socket.recv(1 << 20)
            now = time.monotonic() * MICROS
            if not data:
                raise SystemExit("the server has closed a stream")
            found = reader.feed(data)
            if reader is readers[0]:
                frames += found.data
            if found.figure is not None:
                delays.append(now - found.figure)
        if not told and all(reader.greeted for reader in readers):
            told = True
            print(json.dumps({"connected": len(readers)}), flush=True)


def report(readers: list[Reader], delays: list[float], frames: bytes, stalled_resynced: bool) -> None:
    delays.sort()
    path = Path(tempfile.mkdtemp()) / "frames"
    path.write_bytes(frames)

    def share(part: float) -> float:
        return delays[min(len(delays) - 1, int(len(delays) * part))] / 1000 if delays else 0.0

    said = {
        "revs": [reader.revs for reader in readers],
        "gaps": sum(reader.gaps for reader in readers),
        "resyncs": sum(reader.resyncs for reader in readers),
        "resyncs_of_first": readers[0].resyncs,
        "events": readers[0].events,
        "p50_ms": share(0.5),
        "p99_ms": share(0.99),
        "max_ms": share(1.0),
        "frames": str(path),
        "stalled_resynced": stalled_resynced,
    }
    print(json.dumps(said), flush=True)


def resynced(stalled: socket.socket) -> bool:
    """Whether the one that stood still is told so, now that it reads."""
    stalled.settimeout(5.0)
    heard = b""
    try:
        while data := stalled.recv(1 << 20):
            heard = heard[-64:] + data
            if b"event: resync\n" in heard:
                return True
    except TimeoutError:
        pass
    return False


if __name__ == "__main__":
    sys.exit(main())
