"""Logs of processes: bounded in size, number and what is shown of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest

from reconciler.slots import logs


def test_the_tail_is_the_last_lines_without_colours_and_controls(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"first\r\n\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x00\x08\n\n  \nb\xffd\tok\n")
    assert logs.tail(log) == "first\nred text\nb\ufffdd\tok"


def test_the_tail_is_bounded_in_lines_and_bytes(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert logs.tail(log).split("\n") == [f"line {n}" for n in range(99_980, 100_000)]
    log.write_text("x" * 100_000)
    assert len(logs.tail(log)) == logs.TAIL_BYTES


def test_a_log_that_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert logs.tail(tmp_path / "x.log") == ""


def test_a_large_log_is_cut_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = logs.path_of(tmp_path, "chat", "x")
    fd = logs.open_log(path)
    try:
        os.write(fd, b"a" * 1000)
        logs.rotate(path, 1000)
        assert path.stat().st_size == 1000
        os.write(fd, b"b")
        logs.rotate(path, 1000)
        os.write(fd, b"c")
    finally:
        os.close(fd)
    assert path.read_bytes() == b"c"
    older = path.with_name("x.log.1")
    assert older.read_bytes() == b"a" * 1000 + b"b"
    assert {p.stat().st_mode & 0o777 for p in (path, older)} == {0o600}


def test_rotating_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    logs.rotate(tmp_path / "x.log")


def test_old_logs_go_and_those_of_launches_stay(tmp_path: Path) -> None:
    folder = tmp_path / "chat"
    folder.mkdir()
    for n in range(5):
        log = folder / f"l{n}.log"
        log.write_text("x")
        log.with_suffix(".log.1").write_text("y")
        os.utime(log, (n, n))
    (folder / "notes.txt").write_text("mine")

    logs.prune(tmp_path, "chat", keep={"l0"}, kept=2)
    logs.prune(tmp_path, "nobody", keep=())

    names = sorted(p.name for p in folder.iterdir())
    assert names == ["l0.log", "l0.log.1", "l3.log", "l3.log.1", "l4.log", "l4.log.1", "notes.txt"]


def test_the_older_half_of_a_log_is_nobody_elses_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"a prompt" * 100)
    modes: list[int] = []
    copy = shutil.copyfileobj

    def seen(source: BinaryIO, target: BinaryIO) -> None:
        modes.append(log.with_suffix(".log.1").stat().st_mode & 0o777)
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", seen)
    logs.rotate(log, 10)
    assert modes == [0o600]
    assert log.with_suffix(".log.1").read_bytes() == b"a prompt" * 100
