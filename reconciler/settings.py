"""Settings of this node, from options, the environment and defaults.

An option of the command line wins over its `RECONCILER_…` variable, which wins over the default.
Everything is checked here, once, so that the rest of the program holds absolute paths, seconds and URLs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reconciler.core.history import DEFAULT_PROJECT
from reconciler.core.quantity import parse_duration
from reconciler.core.source import PUBLIC_HUB
from reconciler.environment import InvalidSettingError
from reconciler.loop.git.location import check_path, check_ref, check_url

DEFAULT_HF_TOKEN = "env:HF_TOKEN"  # noqa: S105 — the name of a variable, never a token
_FIELDS_BY_VARIABLE = {
    "RECONCILER_TIMEOUT": "timeout_s",
    "RECONCILER_HF_ENDPOINT": "hf_endpoint",
    "RECONCILER_GIT_INTERVAL": "git_interval_s",
    "NO_COLOR": "no_color",
}
_OPTIONS = {"git_ref": "--ref", "git_path": "--path"}
# All others are named like their field.

DEFAULT_LISTEN = "127.0.0.1:8470"
"""Only this machine can reach it."""

_PROGRAM = re.compile(r"/[^\x00-\x1f]+|[^/\s\x00-\x1f]+").fullmatch
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class Output(StrEnum):
    """How a command prints what it found."""

    TREE = "tree"
    JSON = "json"
    JSONL = "jsonl"
    GITHUB = "github"


class LogFormat(StrEnum):
    """How `serve` logs."""

    AUTO = "auto"
    """`text` on a terminal, `json` elsewhere."""
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least of what `serve` logs."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _folder(value: object) -> Path:
    if not str(value):
        raise ValueError("wanted a folder, got an empty text")
    try:
        path = Path(str(value)).expanduser()
        return Path(os.path.abspath(path))  # noqa: PTH100 — resolve() would follow links that may be switched later
    except (RuntimeError, OSError) as error:
        raise ValueError(f"wanted a folder, got {str(value)!r}, which can't be made absolute: {error}") from error


def _folders(value: object) -> tuple[Path, ...]:
    if isinstance(value, list | tuple):
        return tuple(_folder(item) for item in value)
    text = str(value).strip()
    if not text.startswith("["):
        return tuple(_folder(item) for item in text.split(os.pathsep) if item)
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"wanted folders joined by {os.pathsep!r} or a JSON list of them, got {text!r}") from error
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        raise ValueError(f"wanted a JSON list of folders, got {text!r}")
    return tuple(_folder(item) for item in items)


def _timeout_s(value: object) -> float | None:
    return None if value is None else _duration_s(value)


def _duration_s(value: object) -> float:
    seconds = parse_duration(str(value))
    if seconds <= 0:
        raise ValueError(f"wanted a duration above zero, such as 30m, got {str(value)!r}")
    return seconds


def _one_of(choices: type[StrEnum]) -> BeforeValidator:
    def check(value: object) -> str:
        if str(value) not in list(choices):
            raise ValueError(f"wanted one of {', '.join(choices)}, got {str(value)!r}")
        return str(value)

    return BeforeValidator(check)


def _switch(value: object) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"wanted true or false, got {str(value)!r}")


def _reference(value: object) -> str:
    kind, _, rest = str(value).partition(":")
    if kind not in ("env", "file", "credential") or not rest or (kind == "credential" and "/" in rest):
        # The value is not shown: it is probably the token itself.
        raise ValueError("wanted a reference to a secret, env:NAME, file:PATH or credential:NAME, got something else")
    return str(value)


def _endpoint(value: object) -> str:
    return _address(value, f"wanted the URL of a hub, such as {PUBLIC_HUB}", "RECONCILER_HF_TOKEN")


def _node(value: object) -> str | None:
    wanted = "wanted the address of a node's state API, such as http://gpu.lan:8470"
    return None if value is None else _address(value, wanted, "RECONCILER_AGAINST_TOKEN")


def _webhook(value: object) -> str | None:
    if value is None:
        return None
    text = str(value).strip()
    wanted = "wanted the URL of a webhook, such as https://hooks.example.com/reconciler"
    netloc = _web_address(text, wanted)
    if "@" in netloc:
        raise ValueError(f"{wanted}, got one with a user name")
    return text


def _listen(value: object) -> str:
    text = str(value).strip()
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdecimal() and int(port) <= 65535
    if not colon or not bare or not is_port or (":" in bare) != (host != bare) or bare.split() != [bare]:
        raise ValueError(f"wanted HOST:PORT, such as {DEFAULT_LISTEN} or [::1]:0, got {text!r}")
    return text


def _project(value: object) -> str:
    text = str(value).strip()
    if not text or not text.isprintable():
        raise ValueError(f"wanted a name of printable characters, got {text!r}")
    return text


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(str(item) for item in value)
    return tuple(str(value).replace(",", " ").split())


def _programs(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else re.split(rf"[,{os.pathsep}]", str(value))
    programs = tuple(name for name in (str(item).strip() for item in names) if name)
    for program in programs:
        if not _PROGRAM(program):
            raise ValueError(f"wanted programs, each a name or an absolute path, got {program!r}")
    return programs


def _git_url(value: object) -> str | None:
    return None if value is None else check_url(str(value))


def _git_ref(value: object) -> str:
    return check_ref(str(value))


def _git_path(value: object) -> str:
    return check_path(str(value))


def _optional_file(value: object) -> Path | None:
    return None if value is None else _folder(value)


def _optional_reference(value: object) -> str | None:
    return None if value is None else _reference(value)


def _address(value: object, wanted: str, token_setting: str) -> str:
    text = str(value).strip().rstrip("/")
    netloc = _web_address(text, wanted)
    if "@" in netloc or "?" in text or "#" in text:
        raise ValueError(f"{wanted}, got one with a user name, query or fragment; name a token with {token_setting}")
    return text


def _web_address(text: str, wanted: str) -> str:
    """What stands between `//` and the path of a URL that HTTP can ask."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{wanted}, got one that can't be read") from error
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise ValueError(f"{wanted}, got scheme {parts.scheme!r} and host {host or ''!r}")
    return parts.netloc


def _state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is invalid and is ignored.
    return _folder(Path(base) / "reconciler" if Path(base).is_absolute() else "~/.local/state/reconciler")


def _store_dir(settings: dict[str, Path]) -> Path:
    return settings["state_dir"] / "store"


class Settings(BaseSettings):
    """What the operator of this node decided. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="RECONCILER_",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    state_dir: Annotated[Path, BeforeValidator(_folder)] = Field(default_factory=_state_dir)
    """Registry, views, slots, model records and the writer lock."""
    store_dir: Annotated[Path, BeforeValidator(_folder)] = Field(default_factory=_store_dir)
    """The blobs; by default `<state_dir>/store`."""
    timeout_s: Annotated[float | None, NoDecode, BeforeValidator(_timeout_s)] = Field(
        default=None, validation_alias="RECONCILER_TIMEOUT"
    )
    """How long a run may take; None: as long as it needs."""
    offline: Annotated[bool, BeforeValidator(_switch)] = Field(default=False)
    """Whether no connection may be made."""
    wait: Annotated[bool, BeforeValidator(_switch)] = Field(default=False)
    """Whether a run sleeps until waiting jobs are due and everything has converged."""
    hf_token: Annotated[str, BeforeValidator(_reference)] = Field(default=DEFAULT_HF_TOKEN)
    """Where the hub's token is (`env:NAME` or `file:PATH`), never the token."""
    hf_endpoint: Annotated[str, BeforeValidator(_endpoint)] = Field(
        default=PUBLIC_HUB,
        validation_alias=AliasChoices("RECONCILER_HF_ENDPOINT", "HF_ENDPOINT"),
    )
    """Where `hf://` sources are fetched from; without a slash at the end."""
    file_roots: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_folders)] = Field(default=())
    """Folders, besides that of the manifest, from which `file:` sources may be adopted."""
    preflight: Annotated[bool, BeforeValidator(_switch)] = Field(default=True)
    """Whether a HEAD is sent before a download where its answer helps; a host that refuses it works all the same."""
    output: Annotated[Output, _one_of(Output)] = Field(default=Output.TREE)
    """What `-o` is when it is not given."""
    no_color: Annotated[bool, BeforeValidator(bool)] = Field(default=False, validation_alias="NO_COLOR")
    """Any value but the empty one means no colour (no-color.org)."""
    listen: Annotated[str, BeforeValidator(_listen)] = Field(default=DEFAULT_LISTEN)
    """Where `serve` offers its state API, `HOST:PORT`; port 0 is any free one, which it then prints."""
    api_token: Annotated[str | None, BeforeValidator(_optional_reference)] = Field(default=None)
    """Where the token is that the state API asks for; needed unless only this machine can reach it."""
    api_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(default=())
    """Further names that clients may call this node by, joined by commas: others are refused (DNS rebinding)."""
    git: Annotated[str | None, BeforeValidator(_git_url)] = Field(default=None)
    """The URL of the repository that `serve` follows; none: it watches PATHS."""
    git_ref: Annotated[str, BeforeValidator(_git_ref)] = Field(default="main")
    """The branch or tag that is followed."""
    git_path: Annotated[str, BeforeValidator(_git_path)] = Field(default="manifests")
    """The folder or file of manifests in the repository; `.` is its root."""
    git_interval_s: Annotated[float, NoDecode, BeforeValidator(_duration_s)] = Field(
        default=60.0, validation_alias="RECONCILER_GIT_INTERVAL"
    )
    """How often the repository is asked for a new commit."""
    git_token: Annotated[str | None, BeforeValidator(_optional_reference)] = Field(default=None)
    """Where the access token for an https repository is; it is sent to that host alone."""
    git_signers: Annotated[Path | None, BeforeValidator(_optional_file)] = Field(default=None)
    """The allowed signers (ssh-keygen) of commits; set: an unsigned commit, or one of somebody else, is refused."""
    runtimes: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_programs)] = Field(default=())
    """Programs that slots may start, joined by commas or colons: names looked up on PATH, or absolute paths."""
    progress_budget: Annotated[bool, BeforeValidator(_switch)] = Field(default=False)
    """Whether progress events of downloads tell how much of their time is used."""
    progress_disk: Annotated[bool, BeforeValidator(_switch)] = Field(default=False)
    """Whether progress events of downloads tell how much room there is for them."""
    notify_url: Annotated[str | None, BeforeValidator(_webhook)] = Field(default=None)
    """The webhook that is told when a condition changes."""
    notify_secret: Annotated[str | None, BeforeValidator(_optional_reference)] = Field(default=None)
    """Where the secret is that messages to the webhook are signed with (HMAC-SHA256)."""
    log_format: Annotated[LogFormat, _one_of(LogFormat)] = Field(default=LogFormat.AUTO)
    """How `serve` logs: text, json (one object per line), or auto: text on a terminal, else json."""
    log_level: Annotated[LogLevel, _one_of(LogLevel)] = Field(default=LogLevel.INFO)
    """The least that `serve` logs: debug, info, warning or error."""
    env_file: Annotated[Path | None, BeforeValidator(_optional_file)] = Field(default=None)
    """A file of `NAME=value` lines that `serve` reads at its start and on SIGHUP; the environment wins over it."""
    project_id: Annotated[str, BeforeValidator(_project)] = Field(default=DEFAULT_PROJECT)
    """What the egress ledger files this node's requests under."""
    against: Annotated[str | None, BeforeValidator(_node)] = Field(default=None)
    """The node that `reconcile --dry-run` plans for, by the address of its state API; None: this one."""
    against_token: Annotated[str | None, BeforeValidator(_optional_reference)] = Field(default=None)
    """Where that node's API token is (`env:NAME` or `file:PATH`), never the token; None: it wants none."""


def load_settings(options: Mapping[str, object]) -> Settings:
    """The settings of this process; `options` are those given on the command line, by field name.

    Raises InvalidSettingError for the first value that can't be used.
    """
    given: dict[str, Any] = dict(options)
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        problem = first["msg"].removeprefix("Value error, ")
        # Not chained: pydantic's own text could show what was got.
        raise InvalidSettingError(f"{_origin(str(first['loc'][0]), options)}: {problem}") from None
    except ValueError as error:
        # Only the default of state_dir can fail: pydantic lets errors of default factories through.
        raise InvalidSettingError(f"RECONCILER_STATE_DIR: {error}") from error


def requested_output(argv: Sequence[str]) -> Output:
    """The format that a command line asks for which may be wrong in everything else; else that of the environment."""
    words = [word.removeprefix("-o").removeprefix("=") for word in argv if word.startswith("-o") and word != "-o"]
    words += [word.partition("=")[2] for word in argv if word.startswith("--output=")]
    words += [value for word, value in pairwise(argv) if word in ("-o", "--output")]
    words.append(os.environ.get("RECONCILER_OUTPUT", ""))
    return next((Output(word) for word in words if word in list(Output)), Output.TREE)


def _origin(location: str, options: Mapping[str, object]) -> str:
    """What people call the setting at pydantic's `location` (a field's name or its first alias)."""
    field = _FIELDS_BY_VARIABLE.get(location, location)
    if field in options:
        return _OPTIONS.get(field) or "--" + field.removesuffix("_s").replace("_", "-")
    if field == "hf_endpoint" and not os.environ.get("RECONCILER_HF_ENDPOINT"):
        return "HF_ENDPOINT"
    return variable_of(field)


def variable_of(field: str) -> str:
    """The environment variable of the setting."""
    return next((name for name, of in _FIELDS_BY_VARIABLE.items() if of == field), "RECONCILER_" + field.upper())


def host_and_port(listen: str) -> tuple[str, int]:
    """The host, without brackets, and the port of `Settings.listen`."""
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
