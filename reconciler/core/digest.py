"""What bytes are called: their SHA-256."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

_HEX = re.compile(r"[0-9a-f]{64}").fullmatch


class Digest(str):
    """A SHA-256 written as 64 lower-case hexadecimal digits; no other value can be built.

    It is a `str` so that it hashes, compares, sorts and serialises at C speed: plans and scans
    handle hundreds of thousands of them.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """Check `text`; raises ValueError."""
        if not _HEX(text):
            raise ValueError(f"not a SHA-256: wanted 64 hexadecimal digits, got {text!r}")
        return str.__new__(cls, text)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest written as `text`; an upper-case one and a `sha256:` prefix are accepted."""
        return cls(text.removeprefix("sha256:").lower())

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self[:12]


def is_digest(text: str) -> bool:
    """Whether `text` is exactly a lower-case SHA-256: the only file names the store owns."""
    return _HEX(text) is not None


def digest_of(data: bytes) -> Digest:
    """The SHA-256 of `data`."""
    return Digest(hashlib.sha256(data).hexdigest())


def digest_of_json(value: object) -> Digest:
    """The SHA-256 of `value` in canonical JSON: sorted keys, no spaces, ASCII only."""
    return digest_of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def generation_id(files: Iterable[tuple[str, Digest]]) -> Digest:
    """The name of the view generation that holds exactly `files` (path in the view, digest)."""
    return digest_of("".join(f"{path}\0{digest}\n" for path, digest in sorted(files)).encode())
