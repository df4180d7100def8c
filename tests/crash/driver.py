"""Runs `reconcile` in forked children and kills them at the N-th effect. One request per line of standard input.

`python -m tests.crash.driver`: request `{"kill_at": N | null, "argv": [...]}`, answer
`{"status": exit code or -signal, "effects": how many effects there were, "output": what was printed}`.
Importing happens once; every child is a fresh process in all else. Nothing here has threads, so forking is safe.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from reconciler import durable
from reconciler.cli.main import main

LAZY = (
    "reconciler.apply.adapter_check",
    "reconciler.assembly.converge",
    "reconciler.cli.commands.converge",
    "reconciler.cli.commands.gc",
    "reconciler.net.client",
    "reconciler.origins.catalog",
    "reconciler.registry.record",
    "reconciler.transfer.attempt",
)


def child(argv: list[str], kill_at: int | None, output: Path) -> int:
    count = itertools.count(1)
    last = 0

    def on_effect(label: str) -> None:
        nonlocal last
        if not label.startswith("before"):
            return  # what is on disk after one effect is what is there before the next
        last = next(count)
        if last == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    durable.on_effect = on_effect
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        code = main(argv)
        sys.stdout.flush()
        output.with_suffix(".count").write_text(str(last))
    return code


def answer(request: dict[str, object], folder: Path) -> dict[str, object]:
    output = folder / "output"
    output.with_suffix(".count").unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = child([str(a) for a in request["argv"]], request["kill_at"], output)  # type: ignore[attr-defined, arg-type]
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    counted = output.with_suffix(".count")
    return {
        "status": os.waitstatus_to_exitcode(status),
        "effects": int(counted.read_text()) if counted.exists() else 0,
        "output": output.read_text(),
    }


if __name__ == "__main__":
    for name in LAZY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as place:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), Path(place))), flush=True)
