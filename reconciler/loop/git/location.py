"""Where a git source lies: what may be handed to git, and what people may be shown of it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

from reconciler.core.digest import digest_of
from reconciler.core.errors import StalledError
from reconciler.core.source import redact_url

_T = TypeVar("_T")

_SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>(?!//)[^\x00-\x20@]+)")
# What git itself takes as `user@host:path`; a second colon such as in `ext::sh -c …` starts a remote helper.
_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|\.$|/$")
# The rules of git-check-ref-format(1).
_WANTED = "wanted https://HOST/…, ssh://HOST/…, file:///…, an absolute path or user@host:path"
_TOKEN_USER = "x-access-token"  # noqa: S105 — a name, not a token
# Hubs look at the token alone; this name is the one that all of them document or accept.


@dataclass(frozen=True, slots=True, repr=False)
class GitLocation:
    """A place in a repository: build it with `git_location`."""

    url: str
    """What git is given: no password, and never something it could take for an option or a helper."""
    shown: str
    """The URL without a user: the only form ever shown."""
    ref: str
    path: str
    """Relative, with `/`; empty for the root of the repository."""
    user: str | None = None
    """What an https URL holds before the `@`."""
    password: str | None = None

    def __repr__(self) -> str:
        return f"GitLocation({self.identity})"

    @property
    def identity(self) -> str:
        """What the fuse compares: other credentials are still the same source."""
        return f"git:{self.shown}#{self.ref}:{self.path or '.'}"

    @property
    def folder_name(self) -> str:
        """Under which name its copies lie on this machine."""
        return digest_of(self.identity.encode())[:16]

    @property
    def refs(self) -> tuple[str, ...]:
        """The full names `ref` may stand for, the best first."""
        if self.ref.startswith("refs/"):
            return (self.ref,)
        return (f"refs/heads/{self.ref}", f"refs/tags/{self.ref}")

    def credential(self, token: str | None) -> tuple[str, str] | None:
        """The setting of git, key and value, that sends `token`, or the URL's own password, to this host alone."""
        parts = urlsplit(self.url)
        secret = token or self.password
        if parts.scheme != "https" or secret is None:
            return None
        login = b64encode(f"{self.user or _TOKEN_USER}:{secret}".encode()).decode()
        return f"http.https://{parts.netloc}/.extraHeader", f"Authorization: Basic {login}"


def git_location(url: str, ref: str, path: str) -> GitLocation:
    """The location, checked. Raises StalledError (reason `InvalidSetting`), which shows no credentials."""
    clean, shown, user, password = _checked("RECONCILER_GIT", _url, url)
    kept = _checked("RECONCILER_GIT_PATH", _path, path)
    return GitLocation(clean, shown, _checked("RECONCILER_GIT_REF", _ref, ref), kept, user, password)


def check_url(text: str) -> str:
    """`text`, which is the URL of a repository. Raises ValueError, which shows no credentials."""
    _url(text)
    return text


def check_ref(text: str) -> str:
    """`text`, which is a branch or tag. Raises ValueError."""
    return _ref(text)


def check_path(text: str) -> str:
    """`text`, which is a place below the root of a repository. Raises ValueError."""
    _path(text)
    return text


def _checked(setting: str, check: Callable[[str], _T], text: str) -> _T:
    try:
        return check(text)
    except ValueError as error:
        raise StalledError(f"{setting}: {error}", reason="InvalidSetting") from None


def _url(text: str) -> tuple[str, str, str | None, str | None]:
    """What git gets, what people see, user and password."""
    if not text or text.startswith("-") or any(ord(ch) <= 32 or ord(ch) == 127 for ch in text):
        wanted = "wanted a URL such as https://example.com/fleet.git without spaces or a leading dash"
        raise ValueError(f"{wanted}, got {_safe(text)!r}")
    if text.startswith("/"):
        return f"file://{quote(text)}", f"file://{text}", None, None
    if "::" in text.partition("/")[0]:
        raise ValueError(f"{_WANTED}, got the remote helper {text.partition('::')[0]}::, which is refused")
    if "://" not in text:
        return _scp(text)
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        raise ValueError(f"{_WANTED}, got a URL that can't be read") from None
    match parts.scheme:
        case "file" if not host and parts.path.startswith("/"):
            return text, f"file://{unquote(parts.path)}", None, None
        case "https" if host and not host.startswith("-"):
            user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
            return f"https://{_bracketed(host)}{port}{parts.path}", redact_url(text), user, password
        case "ssh" if host and not host.startswith("-") and not (parts.username or "").startswith("-"):
            if parts.password is not None:
                raise ValueError(f"wanted an ssh URL without a password, for ssh uses keys, got {_safe(text)!r}")
            return text, redact_url(text), None, None
        case _:
            raise ValueError(f"{_WANTED}, got {_safe(text)!r}")


def _scp(text: str) -> tuple[str, str, str | None, str | None]:
    match = _SCP.fullmatch(text)
    if match is None:
        raise ValueError(f"{_WANTED}, got {_safe(text)!r}")
    return text, f"{match['host']}:{match['path']}", None, None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _ref(text: str) -> str:
    if not text or text.startswith(("-", "/", ".")) or text == "@" or _BAD_IN_REF.search(text):
        raise ValueError(f"wanted a branch or tag such as main, got {text!r}")
    return text


def _path(text: str) -> str:
    parts = [part for part in text.rstrip("/").split("/") if part != "."]
    unusual = any(part in ("", "..", ".git") or part.startswith("-") for part in parts)
    if unusual or any(ord(ch) < 32 or ord(ch) == 127 or ch == "\\" for ch in text):
        raise ValueError(f"wanted a folder or file below the root of the repository, such as manifests, got {text!r}")
    return "/".join(parts)


def _safe(text: str) -> str:
    """`text` as it may be shown, although it is no URL: without what stands where credentials stand."""
    return redact_url(text) if "://" in text else text.rpartition("@")[2].partition("?")[0].partition("#")[0]
