"""Starts a process and its stable address in forked children and kills them at the N-th effect.

`python -m tests.crash.launch_driver BASE TAG PORT`, then per line of standard input a number N (0: never);
the answer is `exit code or -signal, number of effects`. Importing happens once, and nothing here has threads.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

from reconciler import durable
from tests.fixtures.process_rig import ProcessRig, target


def child(base: Path, tag: str, port: int, kill_at: int) -> int:
    count = itertools.count(1)
    last = 0

    def on_effect(label: str) -> None:
        nonlocal last
        if label.startswith(("before", "after spawn")):
            last = next(count)
            if last == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    rig = ProcessRig(base, tag=tag)
    durable.on_effect = on_effect
    launch_id = rig.runtimes.start("chat", target())
    rig.runtimes.route("chat", port, launch_id)
    durable.on_effect = None
    (base / "count").write_text(str(last))
    return 0


if __name__ == "__main__":
    base, tag, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = child(base, tag, port, int(line))
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
