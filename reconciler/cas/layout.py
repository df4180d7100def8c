"""Where things lie in the store: digests to names relative to its folder, and back. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from reconciler.core.digest import Digest
from reconciler.core.observed import Place

FORMAT_VERSION = 1

STORE_FILE = "store.json"
BY_HASH = Place.BY_HASH.value
QUARANTINE = Place.QUARANTINE.value
TMP = "tmp"
CORRUPT = "corrupt"
GENERATIONS = "generations"
FOLDERS = (BY_HASH, TMP, QUARANTINE, CORRUPT, GENERATIONS)

_PART = ".part"
_META = ".part.meta"


@dataclass(frozen=True, slots=True)
class StoreFile:
    """What `store.json` says."""

    format_version: int
    store_id: str | None
    """None if the version is one that this program does not know."""


def blob(place: Place, digest: Digest) -> str:
    """Complete bytes."""
    return f"{place.value}/{digest}"


def part(digest: Digest) -> str:
    """A partial download, or an adoption under way."""
    return f"{TMP}/{digest}{_PART}"


def part_meta(digest: Digest) -> str:
    """What a partial download is a part of."""
    return f"{TMP}/{digest}{_META}"


def corrupt(digest: Digest, attempt: int) -> str:
    """Bytes that are not `digest`, set aside; `attempt` counts names that are taken."""
    return f"{CORRUPT}/{digest}.{attempt}" if attempt else f"{CORRUPT}/{digest}"


def generation(digest: Digest) -> str:
    """A complete view generation."""
    return f"{GENERATIONS}/{digest}"


def new_generation(digest: Digest) -> str:
    """A view generation that is being written: one name, so that a later run finds a leftover again."""
    return f"{GENERATIONS}/.{digest}.new"


def link_text(path: str, digest: Digest) -> str:
    """What the symbolic link at `path` inside a generation holds: its blob, relative to the link."""
    return f"{'../' * (2 + path.count('/'))}{BY_HASH}/{digest}"


def digest_of_name(name: str) -> Digest | None:
    """The digest that a name in `by-hash`, `quarantine` or `generations` stands for; None for a foreign one."""
    try:
        return Digest(name)
    except ValueError:
        return None


def digest_of_part(name: str) -> Digest | None:
    """The digest that a name in `tmp` belongs to, part or meta; None for a foreign one."""
    if name.endswith(_PART):
        return digest_of_name(name[: -len(_PART)])
    if name.endswith(_META):
        return digest_of_name(name[: -len(_META)])
    return None


def is_part(name: str) -> bool:
    """Whether a name in `tmp` that has a digest is the part itself rather than its meta."""
    return name.endswith(_PART)


def encode_store_file(store_id: str) -> bytes:
    """The content of `store.json`."""
    return json.dumps({"format_version": FORMAT_VERSION, "store_id": store_id}, indent=2).encode() + b"\n"


def decode_store_file(data: bytes) -> StoreFile:
    """What the content of `store.json` says; raises ValueError if it says nothing."""
    match json.loads(data):
        case {"format_version": 1, "store_id": str(store_id)} if store_id:
            return StoreFile(1, store_id)
        case {"format_version": int(version)} if version != FORMAT_VERSION:
            return StoreFile(version, None)
    raise ValueError(f"wanted a `format_version` of {FORMAT_VERSION} and a `store_id`")
