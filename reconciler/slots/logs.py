"""What processes of slots say: one file per launch, bounded in size and number."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from reconciler import durable

KEPT = 5
# Per slot: the launch that runs, the one before it, and a few attempts of a crash loop.
MAX_BYTES = 16 * 2**20
# A llama-server writes about 1 KiB per request: this is a day of a busy slot, twice with the older half.
TAIL_LINES = 20
TAIL_BYTES = 4096
# A page of a terminal, and little enough to stand in a condition.

_SUFFIX = ".log"
_OLDER = ".log.1"
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def path_of(folder: Path, slot: str, launch_id: str) -> Path:
    """The absolute path of a launch's log."""
    return folder.absolute() / slot / f"{launch_id}{_SUFFIX}"


def open_log(path: Path) -> int:
    """A descriptor that appends to the log; the caller closes it. Prompts may stand in it, so nobody else reads it."""
    durable.make_folder(path.parent, sync=False)
    with durable.storage_errors("open", path):
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """The log is not larger than `max_bytes`: what it held then is in `<log>.1`, in place of what that held.

    The process keeps its descriptor, so the file is copied and cut. What is written between the two is lost.
    """
    with suppress(OSError):  # a log is never a reason to stop
        if path.stat().st_size <= max_bytes:
            return
        older = os.open(path.with_suffix(_OLDER), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with path.open("rb") as source, os.fdopen(older, "wb") as target:
            shutil.copyfileobj(source, target)
        os.truncate(path, 0)


def prune(folder: Path, slot: str, keep: Collection[str], kept: int = KEPT) -> None:
    """Besides the logs of the launches in `keep` there are at most `kept` of the slot, the newest."""
    with suppress(OSError):  # the next launch tries again
        logs = [log for log in (folder / slot).glob(f"*{_SUFFIX}") if log.name.removesuffix(_SUFFIX) not in keep]
        logs.sort(key=lambda log: log.stat().st_mtime_ns, reverse=True)
        for log in logs[kept:]:
            log.with_suffix(_OLDER).unlink(missing_ok=True)
            log.unlink(missing_ok=True)


def tail(path: Path, max_lines: int = TAIL_LINES, max_bytes: int = TAIL_BYTES) -> str:
    """The last lines of the log, without colours and other control characters; empty if there are none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            data = file.read(max_bytes)
    except OSError:
        return ""
    if size > max_bytes and b"\n" in data:
        data = data[data.index(b"\n") + 1 :]  # the first line is probably cut
    text = _ESCAPE.sub("", data.decode("utf-8", "replace").replace("\r\n", "\n"))
    lines = [_CONTROL.sub("", line).rstrip() for line in text.split("\n")]
    return "\n".join([line for line in lines if line][-max_lines:])
