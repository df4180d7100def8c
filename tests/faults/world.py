"""What a row of the fault matrix says: how the world is set up, and what a download in it must come to.

Values only, so that tests and docs/generate.py read the same table; `tests.faults.stage` builds the world.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from enum import Enum, StrEnum

from reconciler.core.desired import Budgets
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import Code
from tests.fakes.line import LineFault
from tests.fakes.origin import Fault, Pattern

SIZE = 300_000
HALF = SIZE // 2
DATA = hashlib.shake_128(b"faults").digest(SIZE)
MIB = 2**20
LONG = 9 * MIB
# Long enough to be read past the HTTP parser.
HONEST = Fault()
LOOPBACK = EgressPolicy(allow_http=True, allow_private=True)
NAME = "models.example"
"""A name that only the resolver of the stage knows, and that the certificates are for."""
NO_LIMITS = Budgets(reserve_bytes=0)
IDLE_S = 0.4
# Long enough that a busy machine is not taken for a silent server, short enough for dozens of rows.


class End(StrEnum):
    """How the job stands when nothing runs any more."""

    PUBLISHED = "right digest"
    WAITS = "waits"
    """It is tried again by itself."""
    FAILS = "error"
    """A person must change something, or ask again."""


class Part(StrEnum):
    """What becomes of the partial download."""

    GONE = "gone"
    KEPT = "kept"
    BLOB = "is the blob"
    """Its bytes have their final name, though the job could not say so."""


class Secure(Enum):
    """What the origin's certificate is; the client trusts the authority of all but UNKNOWN."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    OTHER_NAME = "other name"


class Meta(Enum):
    """What lies beside a part."""

    RIGHT = "right"
    MISSING = "missing"
    CORRUPT = "corrupt"
    OTHER_SOURCE = "other source"
    FUTURE = "future format"


@dataclass(frozen=True, slots=True)
class Left:
    """A partial download that an earlier run left."""

    good_bytes: int = HALF
    """So many of the file's first bytes, ..."""
    junk: bytes = b""
    """... and then these."""
    meta: Meta = Meta.RIGHT
    validator: str | None = '"v1"'
    total_bytes: int | None = SIZE


@dataclass(frozen=True, slots=True)
class Disk:
    """A call on a path of the store fails; `{sha}` in the path is the digest."""

    path: str
    calls: tuple[str, ...]
    error: str
    once: bool = False
    """Only the first of them does."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything around one download of `DATA` from `/m`; the defaults are a world without fault.

    `{origin}` and `{other}` in redirects are the URLs of the two servers.
    """

    script: tuple[Fault, ...] = ()
    """What the first GETs of `/m` get, ..."""
    always: Fault = HONEST
    """... and what the later ones get."""
    heads: tuple[Fault, ...] = ()
    """What the first HEADs of `/m` get."""
    size: int = SIZE
    """How many bytes the file has."""
    places: tuple[tuple[str, tuple[Fault, ...], Fault], ...] = ()
    """Further paths of the same server, as (path, script, always)."""
    etag: str | None = '"v1"'
    last_modified: str | None = None
    listening: bool = True
    other: Fault = HONEST
    """How the second server answers for `/m`."""
    mirror: bool = False
    """The second server's `/m` is the second source."""
    declared: bool = True
    """The manifest says how many bytes there are."""
    segments: int | None = None
    budgets: Budgets = NO_LIMITS
    left: Left | None = None
    line: tuple[LineFault, ...] | None = None
    """The connections to the first server go over this line; the ones after the last over a good one."""
    secure: Secure | None = None
    host: str | None = None
    """The first server's name in the URL."""
    addresses: tuple[str, ...] = ("127.0.0.1",)
    """What `NAME` resolves to."""
    hub: bool = False
    """The source is a hub that the operator set: exempt from egress, and asked with a token."""
    password: bool = False
    """The URL has one."""
    egress: EgressPolicy = LOOPBACK
    retries: int = 1
    killed: bool = False
    """The process is killed when half of the file is there."""
    stopped: bool = False
    """The lane is told to stop then."""
    disk: Disk | None = None
    file_limit: int | None = None
    """No file can grow beyond this: a write ends short, and the next one fails."""
    runs: int = 1
    """How many processes try, one after the other."""


@functools.cache
def content(size: int) -> bytes:
    """The file of a row."""
    return DATA if size == SIZE else b"".join(Pattern(size).pieces(0, size))


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of it."""

    end: End
    code: Code | None
    part: Part
    requests: int
    """How many the servers see."""
    sent: float
    """At most so many body bytes are sent, in sizes of the file."""
    way: tuple[Code, ...] = ()
    """What went wrong with single requests, in order, as the ledger has it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, its world and what must come of it."""

    name: str
    world: World
    expected: Expected


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one kind."""

    title: str
    rows: tuple[Row, ...]


def published(*way: Code, requests: int = 1, sent: float = 1.0) -> Expected:
    """The right bytes are under their final name."""
    return Expected(End.PUBLISHED, None, Part.GONE, requests, sent, way)


def waits(code: Code, *way: Code, part: Part = Part.GONE, requests: int = 1, sent: float = 0.0) -> Expected:
    """The job waits, and nothing is published."""
    return Expected(End.WAITS, code, part, requests, sent, way)


def fails(code: Code, *way: Code, part: Part = Part.GONE, requests: int = 1, sent: float = 0.0) -> Expected:
    """The job is an error, and nothing is published."""
    return Expected(End.FAILS, code, part, requests, sent, way)
