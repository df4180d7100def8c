"""Options win over the environment, which wins over defaults; a wrong value says what was wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.core.errors import StalledError
from reconciler.environment import InvalidSettingError, resolve_secret
from reconciler.settings import Output, Settings, load_settings, requested_output


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("RECONCILER_", "HF_", "XDG_")) or name.upper() == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_defaults(tmp_path: Path) -> None:
    settings = load_settings({})
    state = tmp_path / "home" / ".local" / "state" / "reconciler"
    assert settings == Settings(state_dir=state, store_dir=state / "store")
    assert settings.timeout_s is None
    assert not settings.offline
    assert not settings.wait
    assert settings.hf_endpoint == "https://huggingface.co"
    assert settings.hf_token == "env:HF_TOKEN"
    assert settings.file_roots == ()
    assert settings.output is Output.TREE
    assert not settings.no_color


def test_xdg_state_home_moves_the_default_unless_it_is_relative(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert load_settings({}).state_dir == tmp_path / "xdg" / "reconciler"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert load_settings({}).state_dir == tmp_path / "home" / ".local" / "state" / "reconciler"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RECONCILER_STATE_DIR": "/var/lib/reconciler",
        "RECONCILER_STORE_DIR": "/big/disk",
        "RECONCILER_TIMEOUT": "5m",
        "RECONCILER_OFFLINE": "1",
        "RECONCILER_WAIT": "yes",
        "RECONCILER_HF_TOKEN": "file:/run/token",
        "HF_ENDPOINT": "http://127.0.0.1:8080/",
        "RECONCILER_FILE_ROOTS": "/models:/more",
        "RECONCILER_OUTPUT": "json",
        "NO_COLOR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert load_settings({}) == Settings(
        state_dir=Path("/var/lib/reconciler"),
        store_dir=Path("/big/disk"),
        timeout_s=300.0,
        offline=True,
        wait=True,
        hf_token="file:/run/token",
        hf_endpoint="http://127.0.0.1:8080",
        file_roots=(Path("/models"), Path("/more")),
        output=Output.JSON,
        no_color=True,
    )


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_STATE_DIR", "/from/environment")
    monkeypatch.setenv("RECONCILER_OFFLINE", "true")
    monkeypatch.setenv("RECONCILER_TIMEOUT", "5m")
    settings = load_settings({"state_dir": "/from/option", "offline": False, "timeout_s": "10s"})
    assert settings.state_dir == Path("/from/option")
    assert settings.store_dir == Path("/from/option/store")
    assert settings.offline is False
    assert settings.timeout_s == 10.0


def test_our_endpoint_variable_wins_over_the_hubs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://theirs.example")
    monkeypatch.setenv("RECONCILER_HF_ENDPOINT", "https://ours.example")
    assert load_settings({}).hf_endpoint == "https://ours.example"


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_TIMEOUT", "")
    monkeypatch.setenv("RECONCILER_STATE_DIR", "")
    monkeypatch.setenv("NO_COLOR", "")
    assert load_settings({}).timeout_s is None
    assert load_settings({}).state_dir.name == "reconciler"
    assert not load_settings({}).no_color


def test_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"state_dir": "here"}).state_dir == tmp_path / "here"
    assert load_settings({"state_dir": "~/there"}).state_dir == tmp_path / "home" / "there"


def test_file_roots_may_be_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_FILE_ROOTS", '["/a:b", "/c"]')
    assert load_settings({}).file_roots == (Path("/a:b"), Path("/c"))


@pytest.mark.parametrize(
    ("name", "value", "wanted", "got"),
    [
        ("RECONCILER_TIMEOUT", "5 parsecs", "a duration such as 30s", "5 parsecs"),
        ("RECONCILER_TIMEOUT", "0", "a duration above zero", "'0'"),
        ("RECONCILER_OFFLINE", "perhaps", "true or false", "perhaps"),
        ("RECONCILER_OUTPUT", "xml", "one of tree, json, jsonl, github", "xml"),
        ("RECONCILER_FILE_ROOTS", "[1", "folders joined by", "[1"),
        ("RECONCILER_FILE_ROOTS", "[1]", "a JSON list", "[1]"),
        ("HF_ENDPOINT", "ftp://hub", "the URL of a hub", "ftp"),
        ("RECONCILER_HF_ENDPOINT", "huggingface.co", "the URL of a hub", "''"),
        ("HF_ENDPOINT", "http://hub:99999", "the URL of a hub", "can't be read"),
    ],
)
def test_a_wrong_value_says_which_what_was_wanted_and_what_was_got(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, wanted: str, got: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettingError) as caught:
        load_settings({})
    assert caught.value.message.startswith(f"{name}: wanted {wanted}")
    assert got in caught.value.message


def test_a_wrong_repository_is_named_by_its_option_or_variable_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for field, option, value in (("git", "--git", "nope"), ("git_ref", "--ref", "a b"), ("git_path", "--path", "../x")):
        with pytest.raises(InvalidSettingError) as caught:
            load_settings({field: value})
        assert caught.value.message.startswith(f"{option}: wanted ")
        assert caught.value.message.endswith(f"got {value!r}")
    monkeypatch.setenv("RECONCILER_GIT", "nope")
    with pytest.raises(InvalidSettingError, match=r"^RECONCILER_GIT: wanted .* got 'nope'$"):
        load_settings({})


def test_a_wrong_option_is_named_as_the_option() -> None:
    with pytest.raises(InvalidSettingError, match=r"^--timeout: wanted a duration"):
        load_settings({"timeout_s": "soon"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECONCILER_HF_TOKEN", "hf_thisisatoken"),
        ("RECONCILER_GIT", "http://me:hf_thisisatoken@hub.example/fleet"),
        ("RECONCILER_GIT", "me:hf_thisisatoken@hub.example/fleet"),
        ("RECONCILER_GIT", "https://me:hf_thisisatoken@[hub"),
        ("RECONCILER_GIT", "https://me:hf_thisisatoken@hub.example/a fleet"),
        ("HF_ENDPOINT", "https://me:hf_thisisatoken@hub.example"),
        ("HF_ENDPOINT", "https://hub.example/?t=hf_thisisatoken"),
        ("HF_ENDPOINT", "https://[hf_thisisatoken"),
    ],
)
def test_what_may_be_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettingError) as caught:
        load_settings({})
    assert "hf_thisisatoken" not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_no_home_folder_is_an_invalid_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSettingError, match=r"^--state-dir: wanted a folder"):
        load_settings({"state_dir": "~no-such-user/state"})


def test_a_secret_is_read_from_where_the_reference_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_TOKEN", "abc")
    (tmp_path / "token").write_text("def\n")
    assert resolve_secret("env:MY_TOKEN") == "abc"
    assert resolve_secret(f"file:{tmp_path}/token") == "def"
    assert resolve_secret("env:NO_SUCH_VARIABLE") is None


def test_an_unreadable_secret_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(StalledError, match="No such file") as caught:
        resolve_secret(f"file:{tmp_path}/none")
    assert caught.value.reason == "SecretUnreadable"


@pytest.mark.parametrize("content", [b"two\nlines", "g\xe9heim".encode(), b"\xff\xfe"])
def test_a_secret_that_no_header_can_carry_is_refused_unseen(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(StalledError) as caught:
        resolve_secret(f"file:{tmp_path}/token")
    assert "two" not in str(caught.value)
    assert "heim" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-o", "json", "nowhere"], Output.JSON),
        (["-ojsonl"], Output.JSONL),
        (["--output=github"], Output.GITHUB),
        (["--output", "json"], Output.JSON),
        (["-o", "xml"], Output.TREE),
        (["--out", "json"], Output.TREE),
        ([], Output.TREE),
    ],
)
def test_the_format_of_a_wrong_command_line_is_still_known(argv: list[str], expected: Output) -> None:
    assert requested_output(argv) is expected


def test_the_format_of_a_wrong_command_line_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_OUTPUT", "json")
    assert requested_output(["nowhere"]) is Output.JSON
