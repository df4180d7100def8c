"""Starting a process that outlives us."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from reconciler import durable
from reconciler.core.errors import StalledError
from reconciler.slots import logs

_FOLDER = "/"
# Wherever this program was started from may be unmounted or removed while the process runs.


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, mark: str, pass_fds: Collection[int] = ()
) -> int:
    """The process runs: in its own session, saying everything into the log, and with no descriptor of ours.

    `mark` names it in crash tests. Raises StalledError (reason `CannotStart`).
    """
    output = logs.open_log(log)
    durable.effect(f"before spawn {mark}")
    try:
        process = subprocess.Popen(  # noqa: S603 — the plan lets only programs through that the operator listed
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=_FOLDER,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except (OSError, ValueError) as error:
        cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise StalledError(
            f"cannot run {command[0]}: {cause}",
            reason="CannotStart",
            hint="check the first word of the slot's command, and that this user may run it",
        ) from error
    finally:
        os.close(output)
    durable.effect(f"after spawn {mark}")
    process.returncode = 0  # it is not waited for by this object, which would warn of that when it is collected
    return process.pid


def free_port(taken: Collection[int]) -> int:
    """A port of the loopback address that nobody listens on now and that is not in `taken`.

    Another program may take it before the process does; then the process ends, and the next launch gets another.
    """
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
