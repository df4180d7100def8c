"""Which names are allowed, and what they are called on disk."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 200
# Long enough for every model name seen in public catalogues, short enough for any file system.

MAX_DISK_NAME = 120
# Leaves room below the 255 bytes of ext4 for suffixes and for multi-byte characters.

_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)
_NOT_ON_DISK = re.compile(r"[^A-Za-z0-9\-_. ]+")
_SLOT = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}").fullmatch
_FORBIDDEN = re.compile(r"[/~\x00-\x1f\x7f]")


def name_problem(name: str) -> str | None:
    """Why `name` can't name a model or an adapter; None if it can.

    Names like `llama3:8b` are normal. `/` and `~` are refused because they would have to be
    escaped in every JSON Pointer (RFC 6901, section 3).
    """
    if not name or name != name.strip():
        return "must not be empty or begin or end with a space"
    if found := _FORBIDDEN.search(name):
        return f"must not contain {found.group()!r}"
    if len(name) > MAX_NAME:
        return f"is {len(name)} characters long, at most {MAX_NAME} are allowed"
    return None


def slot_name_problem(name: str) -> str | None:
    """Why `name` can't name a slot; None if it can. Slot names become folder and process names."""
    if _SLOT(name):
        return None
    return "must be 1 to 32 characters of a-z, 0-9, '_' and '-', beginning with a letter or digit"


def disk_name(name: str) -> str:
    """`name` as a file name that is safe on every platform; at most `MAX_DISK_NAME` characters.

    Two names can become equal: the manifest refuses such a pair (`disk_key`).
    """
    text = _NOT_ON_DISK.sub("_", name).strip(" .") or "file"
    stem, dot, extension = text.partition(".")
    if stem.lower() in _RESERVED:
        text = f"{stem}_{dot}{extension}"
    if len(text) <= MAX_DISK_NAME:
        return text
    head, dot, tail = text.rpartition(".")
    if not dot or len(tail) > MAX_DISK_NAME // 2:
        return text[:MAX_DISK_NAME].rstrip(" .")
    return head[: MAX_DISK_NAME - len(tail) - 1].rstrip(" .") + "." + tail


def disk_key(name: str) -> str:
    """What two on-disk names are compared by: NFC and case-folded, as macOS and Windows do."""
    return unicodedata.normalize("NFC", name).casefold()


def path_problem(path: str) -> str | None:
    """Why `path` can't be a relative file path inside a view; None if it can."""
    parts = path.split("/")
    if not path or path.startswith("/"):
        return "must be a relative path"
    for part in parts:
        if part in ("", ".", ".."):
            return f"must not contain {part!r} as a folder or file name"
        if disk_name(part) != part:
            what = "is" if part == path else f"holds the name {part!r}, which is"
            return f"{what} not safe on every platform; {disk_name(part)!r} would be"
    return None
