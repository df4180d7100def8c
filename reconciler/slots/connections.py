"""Who is connected to a process: what it has begun to answer would be lost if it ended now."""

from __future__ import annotations

from pathlib import Path

TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_ESTABLISHED = "01"
_LOCAL, _STATE = 1, 3
# Columns of proc_net_tcp(5); a local address is `<hexadecimal address>:<hexadecimal port>`.


def are_open(port: int, tables: tuple[Path, ...] = TABLES) -> bool:
    """Whether anybody is connected to the port; False where the system does not tell."""
    return any(_has(table, f":{port:04X}") for table in tables)


def _has(table: Path, port: str) -> bool:
    try:
        rows = [line.split(maxsplit=_STATE + 1) for line in table.read_text("ascii").splitlines()[1:]]
    except OSError:
        return False
    return any(row[_LOCAL].endswith(port) and row[_STATE] == _ESTABLISHED for row in rows)
