"""A verified download of one file from loopback, against what people use today.

    python bench/download.py [--mib 2048] [--rounds 5] [--folder DIR] [--hf-python PYTHON]

The origin is a Python server in a process of its own (sendfile). Each round runs every client once, each as a fresh
process, and the ratios are taken within a round. `hf_hub_download` runs where huggingface_hub can be imported, by this
Python or by `--hf-python`; it verifies nothing. Wall time on a disk is noisy: the user + system time says more.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
COMMIT = "0" * 40
TARGET = f"/bench/model/resolve/{COMMIT}/m.gguf"

SERVE = """
import sys
from pathlib import Path
from tests.fakes.origin import Fault, OriginSimulator
path, target, digest, commit = sys.argv[1:]
with OriginSimulator() as origin:
    size = str(Path(path).stat().st_size)
    head = (("X-Repo-Commit", commit), ("X-Linked-Etag", f'"{digest}"'), ("X-Linked-Size", size))
    print(origin.put(target, Path(path), etag=f'"{digest}"', always=Fault(headers=head)), flush=True)
    sys.stdin.read()
"""
OURS = """
import sys
from pathlib import Path
from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.digest import Digest
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.source import WebFile
from reconciler.net.client import Session
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.attempt import Attempts
from reconciler.transfer.token import CancelToken
from tests.fakes.report import RecordedReport
url, digest, folder = sys.argv[1:]
store, clock, source = FileBlobStore(Path(folder)), SystemClock(), WebFile(url)
store.initialise("5f2b8a1e-0000-4000-8000-000000000001")
spec = JobSpec(JobKind.FETCH, Digest(digest), ("models/m",), None, (source,))
session = Session(clock)
Attempts(store, SourceOrigins(), session, clock).fetch(
    spec, source, egress=EgressPolicy(None, True, True), token=CancelToken(), report=RecordedReport(), corr_id="b")
session.close()
"""
NAIVE = """
import hashlib, sys
import httpx
url, digest, folder = sys.argv[1:]
found = hashlib.sha256()
with httpx.stream("GET", url) as response, open(folder + "/m", "wb") as file:
    for chunk in response.iter_bytes():
        file.write(chunk)
        found.update(chunk)
assert found.hexdigest() == digest
"""
CURL = 'curl -sSf -o "$3/m" "$1" && test "$(openssl dgst -sha256 -r "$3/m" | cut -c1-64)" = "$2"'
HUB = f"""
import sys
from huggingface_hub import hf_hub_download
url, digest, folder = sys.argv[1:]
hf_hub_download("bench/model", "m.gguf", revision="{COMMIT}", local_dir=folder, endpoint=url.partition("/bench/")[0])
"""


def main() -> None:
    options = _options()
    with TemporaryDirectory(dir=options.folder) as folder, _served(Path(folder), options.mib) as (url, digest):
        clients = _clients(options.hf_python)
        rounds = [
            {name: _run(command, url, digest, Path(folder)) for name, command in clients.items()}
            for _ in range(options.rounds)
        ]
    print(
        f"{options.mib} MiB, {options.rounds} rounds, wall seconds and CPU seconds: min / median / max; ratio to ours"
    )
    for name in clients:
        wall, cpu = ([each[name][kind] for each in rounds] for kind in (0, 1))
        ratios = [each["ours"][0] / each[name][0] for each in rounds]
        cpu_ratios = [each["ours"][1] / each[name][1] for each in rounds]
        print(f"{name:28} wall {_spread(wall)}  cpu {_spread(cpu)}", end="")
        print("" if name == "ours" else f"  ours/this: wall {_spread(ratios)}  cpu {_spread(cpu_ratios)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=None, help="a folder on the disk to measure")
    parser.add_argument("--hf-python", default=sys.executable)
    return parser.parse_args()


def _clients(hf_python: str) -> dict[str, list[str]]:
    clients = {
        "ours": [sys.executable, "-c", OURS],
        "curl && openssl dgst": ["sh", "-c", CURL, "sh"],
        "httpx iter_bytes + sha256": [sys.executable, "-c", NAIVE],
    }
    probe = subprocess.run([hf_python, "-c", "import huggingface_hub"], capture_output=True, check=False)
    if probe.returncode == 0:
        clients["hf_hub_download (unverified)"] = [hf_python, "-c", HUB]
    return clients


@contextmanager
def _served(folder: Path, mib: int):
    path, digest = folder / "served", hashlib.sha256()
    with path.open("wb") as file:
        for number in range(mib):
            block = hashlib.shake_128(number.to_bytes(8, "big")).digest(4096) * 256
            file.write(block)
            digest.update(block)
    command = [sys.executable, "-c", SERVE, str(path), TARGET, digest.hexdigest(), COMMIT]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), digest.hexdigest()


def _run(command: list[str], url: str, digest: str, folder: Path) -> tuple[float, float]:
    target = folder / "target"
    target.mkdir()
    environment = {
        **os.environ,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": str(ROOT),
    }
    started = time.perf_counter()
    process = subprocess.Popen([*command, url, digest, str(target)], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    shutil.rmtree(target)
    return elapsed_s, usage.ru_utime + usage.ru_stime


def _spread(values: list[float]) -> str:
    return f"{min(values):.2f} / {median(values):.2f} / {max(values):.2f}"


if __name__ == "__main__":
    main()
