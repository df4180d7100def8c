"""`.part.meta` version 1: its text. Pure."""

from __future__ import annotations

import json

from reconciler.core.stored import PartMeta

FORMAT = 1


def encode(meta: PartMeta) -> bytes:
    """The content of the meta file."""
    value = {
        "format": FORMAT,
        "sources": [{"url": url, "validator": validator} for url, validator in meta.sources],
        "size": meta.size_bytes,
        "segments": [list(segment) for segment in meta.segments],
    }
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def decode(data: bytes) -> PartMeta | None:
    """What the content says; None for another format or anything that is not whole."""
    try:
        found = json.loads(data)
        if found["format"] != FORMAT:
            return None
        return PartMeta(
            sources=tuple((_text(s["url"]), _optional_text(s["validator"])) for s in found["sources"]),
            size_bytes=None if found["size"] is None else _size(found["size"]),
            segments=tuple((_size(start), _size(end)) for start, end in found["segments"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"wanted a text, got {value!r}")  # noqa: TRY004 — all that is wrong with a file is one error
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"wanted a number of bytes, got {value!r}")
    return value
