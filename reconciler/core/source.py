"""Where bytes can come from, as written in a manifest."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

PUBLIC_HUB = "https://huggingface.co"
"""Where `hf://` sources are fetched from unless the operator set another endpoint."""

_COMMIT = re.compile(r"[0-9a-f]{40}").fullmatch
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?/+|")
_QUERY = re.compile(r"[?#]")
_REPO_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}").fullmatch


@dataclass(frozen=True, slots=True, repr=False)
class WebFile:
    """A file behind an `https:` or `http:` URL. Its repr is redacted: it stands in tracebacks."""

    url: str

    def __repr__(self) -> str:
        return f"WebFile({self.redacted!r})"

    @property
    def scheme(self) -> str:
        """`https` or `http`; the default provider of a model."""
        return self.url.partition(":")[0]

    @property
    def redacted(self) -> str:
        """The reference without userinfo, query and fragment: the only form ever shown."""
        return redact_url(self.url)

    @property
    def basename(self) -> str:
        """The last path segment; empty if the path ends in `/`."""
        return urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class HuggingFaceFile:
    """A file of a Hugging Face repository at one commit."""

    repo: str
    commit: str
    path: str

    @property
    def scheme(self) -> str:
        """`hf`."""
        return "hf"

    @property
    def redacted(self) -> str:
        """The reference as written; it can hold no secret."""
        return f"hf://{self.repo}@{self.commit}/{self.path}"

    @property
    def basename(self) -> str:
        """The last path segment."""
        return self.path.rpartition("/")[2]

    def url(self, endpoint: str) -> str:
        """Where `endpoint` (`https://huggingface.co` or a mirror) serves the file."""
        return f"{endpoint.rstrip('/')}/{self.repo}/resolve/{self.commit}/{quote(self.path)}"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine, to be adopted; `path` is absolute and normalised."""

    path: str
    root: str
    """The folder of the manifest that names it: adoption outside it needs a setting."""

    @property
    def scheme(self) -> str:
        """`file`."""
        return "file"

    @property
    def redacted(self) -> str:
        """The reference as an absolute `file:` URL."""
        return f"file:{self.path}"

    @property
    def basename(self) -> str:
        """The last path segment."""
        return self.path.rpartition("/")[2]


Source = WebFile | HuggingFaceFile | LocalFile


@functools.lru_cache(4096)  # while a file is fetched its URL is shown half a dozen times
def redact_url(url: str) -> str:
    """`url` without userinfo, query and fragment; `<unreadable url>` if it can't be split."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "<unreadable url>"
    if ":" in host:
        host = f"[{host}]"
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def without_secrets(text: str) -> str:
    """`text`, which somebody took for a URL, as it may be shown: without userinfo, query and fragment."""
    bare = _without_userinfo(text) if "@" in text and ("/" in text or ":" in text) else text
    return _QUERY.split(bare, maxsplit=1)[0] if "/" in bare else bare


def _without_userinfo(text: str) -> str:
    if not text.startswith("hf://"):
        scheme = _SCHEME.match(text)
        assert scheme is not None  # it matches nothing too
        return scheme[0] + text[scheme.end() :].rpartition("@")[2]
    before, at, rest = text.removeprefix("hf://").partition("@")
    if not at or _is_repo(before):  # what follows is a commit
        return text
    return _without_userinfo(f"hf://{rest}")


def _is_repo(text: str) -> bool:
    org, _, repo = text.partition("/")
    return bool(_REPO_PART(org) and _REPO_PART(repo))


def web_file(text: str) -> WebFile:
    """The web file at URL `text`; raises ValueError with what is wrong."""
    parts = urlsplit(text)
    if not (parts.hostname or "").strip("."):
        raise ValueError("wanted a URL with a host, such as https://example.com/model.gguf")
    if parts.port == 0:  # raises ValueError itself when it is not a number from 0 to 65535
        raise ValueError("wanted a port from 1 to 65535")
    if any(ord(ch) <= 32 or ord(ch) == 127 for ch in text):
        raise ValueError("a URL must not contain spaces or control characters")
    return WebFile(text)


def hugging_face_file(text: str, path: str | None = None) -> HuggingFaceFile:
    """The file that `hf://org/repo@commit/path` names; raises ValueError with what is wrong.

    `path` is the file's path when `text` is only a prefix, as it is for a model with `files`.
    """
    shown = without_secrets(text)
    if _QUERY.search(text):
        raise ValueError(f"wanted hf://ORG/REPO@COMMIT/PATH without a query, got one behind {shown!r}")
    repo_part, at, rest = text.removeprefix("hf://").partition("@")
    commit, _, inner = rest.partition("/")
    if not _is_repo(repo_part):
        raise ValueError(f"wanted hf://ORG/REPO@COMMIT/PATH, got {shown!r}")
    if not at or not _COMMIT(commit):
        raise ValueError(f"wanted a commit of 40 hexadecimal digits after '@', got {commit!r}")
    full = "/".join(part for part in (inner.strip("/"), path) if part)
    if not full or any(part in ("", ".", "..") for part in full.split("/")):
        raise ValueError(f"wanted the path of a file after the commit, got {full!r}")
    return HuggingFaceFile(repo_part, commit, full)
