"""Settings of this node: the only reader of the environment.

An option of the command line wins over its `RECONCILER_…` variable, which wins over the default.
Everything is checked here, once, so that the rest of the program holds absolute paths, seconds and URLs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reconciler.core.errors import StalledError
from reconciler.core.quantity import parse_duration
from reconciler.core.source import PUBLIC_HUB

DEFAULT_HF_TOKEN = "env:HF_TOKEN"  # noqa: S105 — the name of a variable, never a token
_FIELDS_BY_VARIABLE = {
    "RECONCILER_TIMEOUT": "timeout_s",
    "RECONCILER_HF_ENDPOINT": "hf_endpoint",
    "NO_COLOR": "no_color",
}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class InvalidSettingError(StalledError):
    """A setting can't be used; the message names it, what was wanted and, unless it may be secret, what was got."""

    default_reason = "InvalidSetting"


class Output(StrEnum):
    """How a command prints what it found."""

    TREE = "tree"
    JSON = "json"
    JSONL = "jsonl"
    GITHUB = "github"


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
    if value is None:
        return None
    seconds = parse_duration(str(value))
    if seconds <= 0:
        raise ValueError(f"wanted a duration above zero, such as 30m, got {str(value)!r}")
    return seconds


def _output(value: object) -> str:
    if str(value) not in list(Output):
        raise ValueError(f"wanted one of {', '.join(Output)}, got {str(value)!r}")
    return str(value)


def _switch(value: object) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"wanted true or false, got {str(value)!r}")


def _reference(value: object) -> str:
    kind, _, rest = str(value).partition(":")
    if kind not in ("env", "file") or not rest:
        # The value is not shown: it is probably the token itself.
        raise ValueError("wanted a reference to a secret, env:NAME or file:PATH, got something else")
    return str(value)


def _endpoint(value: object) -> str:
    text = str(value).strip().rstrip("/")
    wanted = f"wanted the URL of a hub, such as {PUBLIC_HUB}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{wanted}, got one that can't be read") from error
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise ValueError(f"{wanted}, got scheme {parts.scheme!r} and host {host or ''!r}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"{wanted}, got one with a user name, query or fragment; name a token with RECONCILER_HF_TOKEN"
        )
    return text


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
    """Where the hub's token is (`env:NAME` or `file:PATH`), never the token: see `resolve_secret`."""
    hf_endpoint: Annotated[str, BeforeValidator(_endpoint)] = Field(
        default=PUBLIC_HUB,
        validation_alias=AliasChoices("RECONCILER_HF_ENDPOINT", "HF_ENDPOINT"),
    )
    """Where `hf://` sources are fetched from; without a slash at the end."""
    file_roots: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_folders)] = Field(default=())
    """Folders, besides that of the manifest, from which `file:` sources may be adopted."""
    output: Annotated[Output, BeforeValidator(_output)] = Field(default=Output.TREE)
    """What `-o` is when it is not given."""
    no_color: Annotated[bool, BeforeValidator(bool)] = Field(default=False, validation_alias="NO_COLOR")
    """Any value but the empty one means no colour (no-color.org)."""


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
        return "--" + field.removesuffix("_s").replace("_", "-")
    if field == "hf_endpoint" and not os.environ.get("RECONCILER_HF_ENDPOINT"):
        return "HF_ENDPOINT"
    return next((name for name, of in _FIELDS_BY_VARIABLE.items() if of == field), "RECONCILER_" + field.upper())


def resolve_secret(reference: str) -> str | None:
    """The secret that `env:NAME` or `file:PATH` names; None when the variable is unset or empty.

    Raises StalledError (reason `SecretUnreadable`), which never shows the secret.
    """
    kind, _, rest = reference.partition(":")
    secret = os.environ.get(rest, "") if kind == "env" else _read_secret(rest)
    secret = secret.strip()  # editors and `echo` end files with a newline
    if not secret.isascii() or not secret.isprintable():
        message = f"the secret at {reference} holds characters that no HTTP header can carry"
        raise StalledError(message, reason="SecretUnreadable", hint="it must be one line of ASCII")
    return secret or None


def _read_secret(path: str) -> str:
    try:
        return Path(path).expanduser().read_text("ascii", errors="surrogateescape")
    except (OSError, RuntimeError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else "the path can't be used"
        hint = "make the file readable for this user, or change RECONCILER_HF_TOKEN"
        raise StalledError(
            f"the secret at file:{path} can't be read: {problem}", reason="SecretUnreadable", hint=hint
        ) from error
