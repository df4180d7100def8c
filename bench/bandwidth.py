"""Whether `concurrency.bandwidth` holds to 5 % over ten seconds, for one file and for a hundred at once.

    python bench/bandwidth.py [--mib 128] [--rounds 3]

Each round is a whole `reconcile` with an empty state directory, whose limit is a tenth of what it has to fetch. The
rate is what the egress ledger says of it: body bytes, from the first request to the end of the last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from web_server import BLOCK, ROOT, serving

SECONDS = 10
FILES = 100
TOLERANCE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    small_bytes = FILES * 64 * 1024
    with TemporaryDirectory() as name, serving(Path(name), options.mib, FILES) as served:
        big = {"big": {"source": served.big, "sha256": served.digest}}
        small = {f"m{n}": {"source": served.small_url(n), "sha256": digest} for n, digest in served.small.items()}
        cases = {
            f"one file of {options.mib} MiB": (big, options.mib * BLOCK),
            f"{FILES} files of 64 KiB, 8 at once": (small, small_bytes),
            "all of them, 8 at once": (big | small, options.mib * BLOCK + small_bytes),
        }
        print(f"server: {served.name}; {options.rounds} rounds; rate got / rate allowed: min / median / max")
        missed = [title for title, (models, size) in cases.items() if not _holds(title, models, size, options.rounds)]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


def _holds(title: str, models: dict[str, object], size_bytes: int, rounds: int) -> bool:
    rates = [_rate(models, size_bytes // SECONDS) for _ in range(rounds)]
    print(f"{title:32} {min(rates):.3f} / {median(rates):.3f} / {max(rates):.3f}")
    return all(abs(rate - 1) <= TOLERANCE for rate in rates)


def _rate(models: dict[str, object], bytes_per_s: int) -> float:
    with TemporaryDirectory() as name:
        folder = Path(name)
        manifest = {
            "apiVersion": "reconciler/v1",
            "egress": {"allow_http": True, "allow_private": True},
            "concurrency": {"max": 8, "per_host": 8, "bandwidth": bytes_per_s},
            "models": models,
        }
        (folder / "models.yaml").write_text(json.dumps(manifest))
        _reconcile(folder, str(folder / "models.yaml"))
        rows = json.loads(_reconcile(folder, "get", "egress", "--limit", str(10 * FILES)))["items"]
    ends = [datetime.fromisoformat(row["time"]) for row in rows]
    begins = [end - timedelta(milliseconds=row["duration_ms"]) for end, row in zip(ends, rows, strict=True)]
    took_s = (max(ends) - min(begins)).total_seconds()
    return sum(row["bytes_in"] for row in rows) / took_s / bytes_per_s


def _reconcile(folder: Path, *words: str) -> str:
    argv = [sys.executable, "-m", "reconciler", *words, "--state-dir", str(folder / "state"), "-o", "json"]
    ran = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return ran.stdout


if __name__ == "__main__":
    main()
