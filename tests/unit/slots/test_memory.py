"""What the kernel says of memory."""

from __future__ import annotations

from pathlib import Path

from reconciler.slots import memory


def test_available_memory_is_read_in_bytes(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       24674304 kB\nMemFree:  1 kB\nMemAvailable:   24232244 kB\n")
    assert memory.available_bytes(meminfo) == 24232244 * 1024
    meminfo.write_text("MemTotal: 1 kB\n")
    assert memory.available_bytes(meminfo) is None
    meminfo.unlink()
    assert memory.available_bytes(meminfo) is None
