"""How long the command line takes to start, against what importing its libraries costs.

    python bench/startup.py [ROUNDS]

Each round runs three fresh processes one after the other: the imports alone, `reconcile --help`, and a small
`reconcile --dry-run`. The ratios are taken within a round, so that a busy machine slows all three alike.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

QUICKSTART = Path(__file__).parents[1] / "manifests" / "quickstart"
IMPORTS = (sys.executable, "-c", "import pydantic_settings, ruamel.yaml, httpx")
RECONCILE = (str(Path(sys.executable).with_name("reconcile")),)
TARGETS = {"--help": 1.0, "--dry-run": 1.6}


def main(rounds: int) -> None:
    with TemporaryDirectory() as folder:
        commands = {
            "--help": (*RECONCILE, "--help"),
            "--dry-run": (*RECONCILE, "--dry-run", "--state-dir", f"{folder}/state", str(QUICKSTART)),
        }
        for command in (IMPORTS, *commands.values()):
            seconds(command)  # warms the page cache and writes the byte code
        ratios: list[dict[str, float]] = [{} for _ in range(rounds)]
        for each in ratios:
            baseline = seconds(IMPORTS)
            for name, command in commands.items():
                each[name] = seconds(command) / baseline
    print(f"{rounds} rounds, ratio to `import pydantic_settings, ruamel.yaml, httpx`")
    for name, target in TARGETS.items():
        values = [each[name] for each in ratios]
        print(
            f"reconcile {name:10} min {min(values):.2f}  median {median(values):.2f}  max {max(values):.2f}"
            f"  (target: median at most {target})"
        )


def seconds(command: tuple[str, ...]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
