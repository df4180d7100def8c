"""Which names are allowed, and what they are called on disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.names import (
    MAX_DISK_NAME,
    MAX_NAME,
    disk_key,
    disk_name,
    name_problem,
    path_problem,
    slot_name_problem,
)


@pytest.mark.parametrize(
    ("name", "on_disk"),
    [
        ("a.txt", "a.txt"),
        ("..hidden", "hidden"),
        ("con", "con_"),
        ("AUX", "AUX_"),
        ("con.txt", "con_.txt"),
        ("LPT1.md", "LPT1_.md"),
        ("NUL.device", "NUL_.device"),
        ("bad:name*?<>|.txt", "bad_name_.txt"),
        ("bad/../name?.bin", "bad_.._name_.bin"),
        ("a\\b:c*?.txt", "a_b_c_.txt"),
        (" spaced .txt ", "spaced .txt"),
        ("name.", "name"),
        ("..", "file"),
        ("", "file"),
        (" . ", "file"),
        ("llama3:8b", "llama3_8b"),
        ("Qwen/Qwen2.5", "Qwen_Qwen2.5"),
        ("../../x", "_.._x"),
        ("com0", "com0"),
        ("com9.tar.gz", "com9_.tar.gz"),
        ("console", "console"),
        ("модель", "_"),
        ("a\x00b", "a_b"),
    ],
)
def test_a_name_is_written_so_that_every_platform_can_hold_it(name: str, on_disk: str) -> None:
    assert disk_name(name) == on_disk


def test_a_long_name_is_cut_and_keeps_its_extension() -> None:
    cut = disk_name("x" * 300 + ".bin")

    assert len(cut) == MAX_DISK_NAME
    assert cut.endswith("x.bin")


def test_a_long_name_without_an_extension_is_cut() -> None:
    assert disk_name("x" * 300) == "x" * MAX_DISK_NAME


def test_an_extension_that_is_most_of_the_name_is_none() -> None:
    assert disk_name("a." + "x" * 300) == "a." + "x" * (MAX_DISK_NAME - 2)


def test_a_name_that_is_cut_at_a_dot_or_space_ends_with_neither() -> None:
    assert disk_name("x" * (MAX_DISK_NAME - 1) + ". " + "y" * 100) == "x" * (MAX_DISK_NAME - 1)
    assert disk_name("x" * 100 + " ." * 30 + "y.bin") == "x" * 100 + ".bin"


@given(st.text(max_size=400))
def test_any_text_becomes_a_safe_name_and_stays_what_it_became(name: str) -> None:
    on_disk = disk_name(name)

    assert 0 < len(on_disk) <= MAX_DISK_NAME
    assert on_disk == on_disk.strip(" .")
    assert set(on_disk) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. ")
    assert disk_name(on_disk) == on_disk


def test_names_that_a_file_system_may_hold_as_one_have_one_key() -> None:
    assert disk_key("Llama3") == disk_key("llama3")
    assert disk_key("e\u0301") == disk_key("\u00e9")
    assert disk_key("a") != disk_key("b")


@pytest.mark.parametrize("name", ["llama3:8b", "Qwen2.5 Coder", "模型", "a" * MAX_NAME, "a\\b", "."])
def test_usual_names_are_allowed(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "must not be empty or begin or end with a space"),
        (" a", "must not be empty or begin or end with a space"),
        ("a\u00a0", "must not be empty or begin or end with a space"),
        ("a/b", "must not contain '/'"),
        ("a~1", "must not contain '~'"),
        ("a\nb", "must not contain '\\n'"),
        ("a\x7fb", "must not contain '\\x7f'"),
        ("a" * (MAX_NAME + 1), f"is {MAX_NAME + 1} characters long, at most {MAX_NAME} are allowed"),
    ],
)
def test_a_refused_name_says_why(name: str, problem: str) -> None:
    assert name_problem(name) == problem


@pytest.mark.parametrize("name", ["chat", "0", "a-b_c", "x" * 32])
def test_usual_slot_names_are_allowed(name: str) -> None:
    assert slot_name_problem(name) is None


@pytest.mark.parametrize("name", ["", "Chat", "-a", "_a", "a.b", "a b", "x" * 33, "chat\n", "..", ".records"])
def test_a_slot_name_that_could_surprise_a_shell_or_a_file_system_is_refused(name: str) -> None:
    assert slot_name_problem(name) is not None


@pytest.mark.parametrize("path", ["a.gguf", "Q6_K/a-00001-of-00002.gguf", "a b/c.txt"])
def test_usual_paths_inside_a_view_are_allowed(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "must be a relative path"),
        ("/etc/passwd", "must be a relative path"),
        ("a/../../b", "must not contain '..' as a folder or file name"),
        ("a//b", "must not contain '' as a folder or file name"),
        ("./a", "must not contain '.' as a folder or file name"),
        ("a/", "must not contain '' as a folder or file name"),
        ("a/con/b", "holds the name 'con', which is not safe on every platform; 'con_' would be"),
        ("a\\..\\b", "is not safe on every platform; 'a_.._b' would be"),
        ("a\nb", "is not safe on every platform; 'a_b' would be"),
        (".hidden", "is not safe on every platform; 'hidden' would be"),
    ],
)
def test_a_path_that_could_leave_its_view_or_be_unreadable_elsewhere_is_refused(path: str, problem: str) -> None:
    assert path_problem(path) == problem
