"""Pages of `models_hashes`: filtered, sorted and cut. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from reconciler.core.event import JsonValue

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000

Row = Mapping[str, JsonValue]
"""An item of `models_hashes`."""


class Sort(StrEnum):
    """What rows are sorted by."""

    BYTES = "bytes"
    """An unknown size counts as less than any other."""
    SHA256 = "sha256"
    PATH = "path"
    PROVIDERS_COUNT = "providers_count"


class Order(StrEnum):
    """In which direction."""

    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows a page shows."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    provider: str | None = None
    """None: of any."""
    model: str | None = None
    """None: of any."""
    sort: Sort = Sort.BYTES
    order: Order | None = None
    """None: the largest first when sorted by bytes, else ascending."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Which rows of a sorted list are on a page, and where the other pages are."""

    total: int
    count: int
    limit: int
    offset: int
    """As asked for, but never behind the start of the last page."""
    prev_offset: int | None
    """None: this is the first page, or there is none."""
    next_offset: int | None
    """None: this is the last page, or there is none."""
    page: int
    """Counted from 1; 0 without rows. An offset that is no multiple of the limit counts to the page it falls on."""
    pages: int
    last_offset: int


def cut(total: int, limit: int, offset: int) -> Cut:
    """The page of `total` rows that begins at `offset`, or the last one."""
    pages = (total - 1) // limit + 1 if total else 0
    last_offset = (pages - 1) * limit if pages else 0
    start = min(offset, last_offset)
    end = min(start + limit, total)
    page = start // limit + 1 if pages else 0
    return Cut(
        total=total,
        count=end - start,
        limit=limit,
        offset=start,
        prev_offset=max(0, start - limit) if page > 1 else None,
        next_offset=end if 0 < page < pages else None,
        page=page,
        pages=pages,
        last_offset=last_offset,
    )


def page_document(rev: int, rows: Iterable[Row], query: Query) -> dict[str, JsonValue]:
    """`{rev, items: […], total, …}`: the rows of the page in order, and the members of its `Cut`."""
    found = in_order((row for row in rows if _is_asked_for(row, query)), query)
    here = cut(len(found), query.limit, query.offset)
    shown = found[here.offset : here.offset + here.count]
    return {"rev": rev, "items": [dict(row) for row in shown], **asdict(here)}


def in_order(rows: Iterable[Row], query: Query) -> list[Row]:
    """Sorted as asked for; what is equal then, by digest."""
    order = query.order or (Order.DESC if query.sort is Sort.BYTES else Order.ASC)
    by_digest = sorted(rows, key=lambda row: str(row["sha256"]))
    return sorted(by_digest, key=_KEYS[query.sort], reverse=order is Order.DESC)


def _is_asked_for(row: Row, query: Query) -> bool:
    return _holds(row["providers"], query.provider) and _holds(row["models"], query.model)


def _holds(values: JsonValue, wanted: str | None) -> bool:
    return wanted is None or (isinstance(values, list) and wanted in values)


def _bytes(row: Row) -> int:
    size = row["bytes"]
    return size if isinstance(size, int) else -1


def _providers_count(row: Row) -> int:
    providers = row["providers"]
    return len(providers) if isinstance(providers, list) else 0


_KEYS: Mapping[Sort, Callable[[Row], int | str]] = {
    Sort.BYTES: _bytes,
    Sort.SHA256: lambda row: str(row["sha256"]),
    Sort.PATH: lambda row: str(row["path"]),
    Sort.PROVIDERS_COUNT: _providers_count,
}
