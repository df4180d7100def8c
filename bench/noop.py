"""A no-op pass against the pass that adopted: 10,000 models of 1 KiB, each run a fresh process.

`python bench/noop.py [MODELS]`. Target: the no-op takes at most 1/10 of the adoption.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def tree(folder: Path, models: int) -> None:
    lines = ["apiVersion: reconciler/v1", "models:"]
    (folder / "files").mkdir(parents=True)
    for number in range(models):
        data = number.to_bytes(8, "big") * 128
        (folder / "files" / f"{number}.bin").write_bytes(data)
        lines.append(f"  m{number}: {{source: 'file:files/{number}.bin', sha256: {hashlib.sha256(data).hexdigest()}}}")
    (folder / "models.yaml").write_text("\n".join(lines) + "\n")


def timed(argv: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        tree(base / "manifests", models)
        argv = [
            sys.executable,
            "-m",
            "reconciler",
            str(base / "manifests"),
            "--state-dir",
            str(base / "state"),
            "-o",
            "json",
        ]
        adopted = timed(argv)
        idle = sorted(timed(argv) for _ in range(5))
        spread = f"{idle[0]:.2f} / {idle[2]:.2f} / {idle[-1]:.2f} s (min/median/max)"
        print(f"{models} models: adopted in {adopted:.1f} s, no-op {spread}")
        print(f"no-op / adoption = {idle[2] / adopted:.3f} (target 0.100)")


if __name__ == "__main__":
    main()
