"""Conditional requests: entity tags, and whether the client has what it asks for already."""

from __future__ import annotations

import re

from reconciler.core.digest import digest_of

_TAG = re.compile(r'\s*(?:W/)?("[^"\x00-\x20\x7f]*")\s*').fullmatch


def tag_of(body: bytes) -> str:
    """A strong entity tag for these bytes."""
    return f'"{digest_of(body)[:32]}"'


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Whether the client's copy is the present one; compared weakly, as RFC 9110 §13.1.2 wants."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    found = (_TAG(part) for part in if_none_match.split(","))
    return etag in {match.group(1) for match in found if match is not None}
