"""Verified downloads from loopback, against what people use today and against what the machine can do.

    python bench/download.py [--only null,disk,tls,small,segments] [--mib 2048] [--rounds 7] [--hf-python PYTHON]
                             [--folder DIR] [--check]

Each round runs every client of a scenario once, each as a fresh process, in an order that moves on from round to
round; ratios are taken within a round. Wall and CPU seconds are net of start-up: for clients written in Python the
same program without its transfer is measured in every round. A peer that is not installed is left out and named.
`hf_hub_download` verifies nothing; aria2 and curl do not fsync, we do: where the disk is slower than the network, the
row with `sync` compares like with like. Wall time on a shared disk is noisy: CPU time says more.
`--check` exits 1 when the median of the ratios misses a target.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from web_server import COMMIT, ROOT, Served, serving

Argv = list[str]

RAW = """
import hashlib, socket, sys
from urllib.parse import urlsplit
url, digest = urlsplit(sys.argv[1]), sys.argv[2]
sock = socket.create_connection((url.hostname, url.port))
if "--start-up" in sys.argv: sys.exit()
sock.sendall(f"GET {url.path} HTTP/1.1\\r\\nHost: {url.netloc}\\r\\n\\r\\n".encode())
head, _, rest = sock.recv(65536).partition(b"\\r\\n\\r\\n")
length = next(int(line.split(b":")[1]) for line in head.split(b"\\r\\n") if line.lower().startswith(b"content-length"))
found, left, buffer = hashlib.sha256(rest), length - len(rest), memoryview(bytearray(2**20))
while left:
    count = sock.recv_into(buffer, min(left, 2**20))
    found.update(buffer[:count])
    left -= count
assert found.hexdigest() == digest
"""
NAIVE = """
import hashlib, sys
import httpx
with httpx.Client(trust_env=False) as client:
    if "--start-up" in sys.argv: sys.exit()
    found = hashlib.sha256()
    with client.stream("GET", sys.argv[1]) as response:
        for chunk in response.iter_bytes():
            found.update(chunk)
assert found.hexdigest() == sys.argv[2]
"""
HUB = f"""
import sys
from huggingface_hub import hf_hub_download
if "--start-up" in sys.argv: sys.exit()
hf_hub_download("bench/model", "m.gguf", revision="{COMMIT}", local_dir=sys.argv[2], endpoint=sys.argv[1])
"""
ENVIRONMENT = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPATH": str(ROOT),
}
PIPE = 'test "$(curl -sSf $3 "$1" | openssl dgst -sha256 -r | cut -c1-64)" = "$2"'
CURL = 'curl -sSf -o "$3/m" "$1" && $4 && test "$(openssl dgst -sha256 -r "$3/m" | cut -c1-64)" = "$2"'


@dataclass(frozen=True)
class Client:
    """A program that is measured. `{target}` in its words is an empty folder, new for every run."""

    argv: Argv
    start_up: Argv | None = None
    """The same without a transfer; None: it has none to speak of."""


def python(program: Argv, *words: str) -> Client:
    argv = [*program, *words]
    return Client(argv, [*argv, "--start-up"])


@dataclass(frozen=True)
class Limit:
    """`ours` is at most so many times `peer`, or at most that figure."""

    most: float
    peer: str = ""
    kind: str = "wall"
    ours: str = "ours"


@dataclass(frozen=True)
class Scenario:
    title: str
    clients: dict[str, Client]
    limits: list[Limit] = field(default_factory=list)
    removes: bool = True
    """Whether what a client fetched is removed at once; else at the end. ext4 makes files several times more slowly
    in the seconds after thousands were removed: the next client would be measured with that."""


@dataclass(frozen=True)
class Figures:
    wall: float
    cpu: float
    rss: float
    """MiB, of the largest process, as it is: with start-up."""


# ---- what is compared ------------------------------------------------------------------------


def ours(url: str, digest: str, place: str, *more: str) -> Client:
    return python([sys.executable, str(ROOT / "bench" / "fetch_once.py")], url, digest, place, *more)


def to_null(served: Served, options: argparse.Namespace) -> Scenario:
    url, digest = served.big, served.digest
    clients = {
        "ours": ours(url, digest, "null"),
        "ours, hashing inline": ours(url, digest, "null", "--cores", "1"),
        "raw socket + sha256": python([sys.executable, "-c", RAW], url, digest),
        "curl | openssl dgst": Client(["sh", "-c", PIPE, "sh", url, digest, ""]),
        "httpx iter_bytes + sha256": python([sys.executable, "-c", NAIVE], url, digest),
    }
    limits = [
        Limit(1.0, "curl | openssl dgst"),
        Limit(0.65, "httpx iter_bytes + sha256"),
        Limit(1.2, "raw socket + sha256"),
        Limit(2.3 * options.mib / 2048, kind="cpu", ours="ours, hashing inline"),
        Limit(80.0, kind="rss"),
    ]
    return Scenario(f"{options.mib} MiB, received and hashed, written nowhere", clients, limits)


def to_disk(served: Served, options: argparse.Namespace) -> Scenario:
    url, digest = served.big, served.digest
    clients = {
        "ours": ours(url, digest, "{target}"),
        "curl && openssl dgst": Client(["sh", "-c", CURL, "sh", url, digest, "{target}", "true"]),
        "curl && sync && openssl dgst": Client(["sh", "-c", CURL, "sh", url, digest, "{target}", "sync {target}/m"]),
        "aria2c --checksum": Client(
            ["aria2c", "-q", "-x1", f"--checksum=sha-256={digest}", "--file-allocation=none", "-d", "{target}", url]
        ),
        "hf_hub_download (unverified)": python([options.hf_python, "-c", HUB], served.hub, "{target}"),
    }
    limits = [
        Limit(0.85, "curl && openssl dgst"),
        Limit(0.65, "aria2c --checksum"),
        Limit(0.5, "hf_hub_download (unverified)"),
        Limit(80.0, kind="rss"),
    ]
    return Scenario(f"{options.mib} MiB to disk; ours with fsync", clients, limits)


def over_tls(served: Served, options: argparse.Namespace) -> Scenario:
    url, digest, ca = served.tls, served.digest, str(served.certificate)
    clients = {
        "ours": ours(url, digest, "null", "--ca", ca),
        "ours, hashing inline": ours(url, digest, "null", "--ca", ca, "--cores", "1"),
        "curl | openssl dgst": Client(["sh", "-c", PIPE, "sh", url, digest, f"--cacert {ca}"]),
    }
    return Scenario(f"{options.mib} MiB over TLS, written nowhere", clients, [Limit(1.0, "curl | openssl dgst")])


def small_files(served: Served, options: argparse.Namespace) -> Scenario:
    folder = served.certificate.parent
    models = {
        f"m{name}": {"source": served.small_url(name), "sha256": digest, "bytes": 64 * 1024}
        for name, digest in served.small.items()
    }
    lines = (
        f"{served.small_url(name)}\n checksum=sha-256={digest}\n out={name}\n" for name, digest in served.small.items()
    )
    (folder / "aria2.txt").write_text("".join(lines))
    first = dict([next(iter(models.items()))])  # imports all that a download needs, as the peers' start-up does
    files = {name: {"sha256": digest, "bytes": 64 * 1024} for name, digest in served.small.items()}
    whole = {"all": {"source": served.small_url(""), "files": files}}
    one, many, start = (
        _manifest(folder / name, each) for name, each in (("one", whole), ("many", models), ("first", first))
    )
    reconcile = [sys.executable, "-m", "reconciler"]
    state = ["--state-dir", "{target}", "-o", "json"]
    aria2 = ["aria2c", "-q", "-j8", "--file-allocation=none", "-d", "{target}", "-i", str(folder / "aria2.txt")]
    clients = {
        "ours": Client([*reconcile, one, *state], [*reconcile, start, *state]),
        "ours, as many models": Client([*reconcile, many, *state], [*reconcile, start, *state]),
        "aria2c -i -j8": Client(aria2),
    }
    title = f"{len(models)} x 64 KiB, 8 at once; ours is `reconcile` with a model of so many files: durable, registered"
    return Scenario(title, clients, [Limit(0.9, "aria2c -i -j8")], removes=False)


def in_segments(served: Served, options: argparse.Namespace) -> Scenario:
    url, digest = served.limited, served.digest
    clients = {
        "ours, 4 segments": ours(url, digest, "{target}", "--segments", "4"),
        "ours, one stream": ours(url, digest, "{target}"),
        "aria2c -x4 --checksum": Client(
            [
                "aria2c",
                "-q",
                "-x4",
                "-s4",
                f"--checksum=sha-256={digest}",
                "--file-allocation=none",
                "-d",
                "{target}",
                url,
            ]
        ),
    }
    limits = [Limit(1 / 3, "ours, one stream", ours="ours, 4 segments")]
    return Scenario(f"{options.mib} MiB where each connection is limited to 50 MiB/s", clients, limits)


SCENARIOS: dict[str, Callable[[Served, argparse.Namespace], Scenario]] = {
    "null": to_null,
    "disk": to_disk,
    "tls": over_tls,
    "small": small_files,
    "segments": in_segments,
}


def _manifest(folder: Path, models: dict[str, object]) -> str:
    folder.mkdir()
    text = json.dumps(
        {
            "apiVersion": "reconciler/v1",
            "egress": {"allow_http": True, "allow_private": True},
            "concurrency": {"max": 8, "per_host": 8},
            "models": models,
        }
    )
    (folder / "models.yaml").write_text(text)
    return str(folder)


# ---- measuring -------------------------------------------------------------------------------


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the server must not outlive us
    missed: list[str] = []
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        with serving(folder, options.mib, options.small_files) as served:
            print(f"server: {served.name}; {len(os.sched_getaffinity(0))} cores; {options.rounds} rounds")
            for each in options.only:
                missed += _measure(SCENARIOS[each](served, options), folder, options.rounds)
    for line in missed:
        print("missed:", line)
    if options.check and missed:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SCENARIOS))
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--small-files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default=None, help="a folder on the disk to measure")
    parser.add_argument("--hf-python", default=sys.executable)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    unknown = set(options.only) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenarios: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return options


def _measure(scenario: Scenario, folder: Path, rounds: int) -> list[str]:
    """Runs the scenario and prints its table; the limits that were missed."""
    clients = {name: client for name, client in scenario.clients.items() if _works(client)}
    left_out = scenario.clients.keys() - clients.keys()
    kept = None if scenario.removes else folder / "kept"
    found = [_round(clients, folder, number, kept) for number in range(rounds)]
    if kept is not None:
        shutil.rmtree(kept)
    print(f"\n{scenario.title}" + (f" (not installed: {', '.join(sorted(left_out))})" if left_out else ""))
    print(f"{'min / median / max':30}  {'wall s':22} {'CPU s':22} {'RSS MiB':>7}  {'first / this, wall':22}")
    first = next(iter(clients))
    for name in clients:
        mine = [each[name] for each in found]
        ratios = [each[first].wall / each[name].wall for each in found]
        spreads = [_spread([f.wall for f in mine]), _spread([f.cpu for f in mine])]
        rss = max(f.rss for f in mine)
        print(f"{name:30}  {spreads[0]:22} {spreads[1]:22} {rss:7.0f}  {_spread(ratios) if name != first else ''}")
    return [line for limit in scenario.limits if (line := _missed(limit, found, scenario.title))]


def _round(clients: dict[str, Client], folder: Path, number: int, kept: Path | None) -> dict[str, Figures]:
    names = list(clients)
    turn = number % len(names)
    return {name: _net(clients[name], folder, kept) for name in names[turn:] + names[:turn]}


def _net(client: Client, folder: Path, kept: Path | None) -> Figures:
    whole = _run(client.argv, folder, kept)
    if client.start_up is None:
        return whole
    start = _run(client.start_up, folder, kept)
    return Figures(whole.wall - start.wall, whole.cpu - start.cpu, whole.rss)


def _run(argv: Argv, folder: Path, kept: Path | None) -> Figures:
    target = folder / "target"
    target.mkdir()
    words = [word.replace("{target}", str(target)) for word in argv]
    with (folder / "output").open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(words, env={**os.environ, **ENVIRONMENT}, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{words[:3]} exited {process.returncode}: {(folder / 'output').read_text()[-2000:]}")
    if kept is None:
        shutil.rmtree(target)
    else:
        kept.mkdir(exist_ok=True)
        target.rename(kept / str(len(os.listdir(kept))))
    return Figures(elapsed_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _works(client: Client) -> bool:
    """Whether its program is installed; of a Python one, whether what it imports is."""
    if shutil.which(client.argv[0]) is None:
        return False
    if client.start_up is None:
        return True
    # Compiles what it imports, too, so that the first round is no different from the others.
    with TemporaryDirectory() as target:
        words = [word.replace("{target}", target) for word in client.start_up]
        done = subprocess.run(words, capture_output=True, check=False, env={**os.environ, **ENVIRONMENT})
    return done.returncode == 0


def _missed(limit: Limit, found: list[dict[str, Figures]], title: str) -> str | None:
    for name in (limit.ours, limit.peer):
        if name and name not in found[0]:
            return f"{title}: {name} does not run here, so a limit was not checked"
    values = [getattr(each[limit.ours], limit.kind) for each in found]
    if limit.peer:
        values = [value / getattr(each[limit.peer], limit.kind) for value, each in zip(values, found, strict=True)]
    if median(values) <= limit.most:
        return None
    against = f" of {limit.peer}" if limit.peer else ""
    return f"{title}: {limit.kind} of {limit.ours}: {median(values):.2f}{against}, wanted at most {limit.most:.2f}"


def _spread(values: list[float]) -> str:
    return f"{min(values):.2f} / {median(values):.2f} / {max(values):.2f}"


if __name__ == "__main__":
    main()
