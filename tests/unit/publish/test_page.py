from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from reconciler.core.event import JsonValue
from reconciler.publish.page import Order, Query, Sort, cut, page_document


def row(
    sha256: str, size: int | None = 0, providers: tuple[str, ...] = ("https",), models: tuple[str, ...] = ()
) -> Any:
    return {
        "sha256": sha256, "bytes": size, "path": f"by-hash/{sha256}",
        "providers": list(providers), "models": list(models),
    }  # fmt: skip


def shown(rows: list[dict[str, JsonValue]], **query: Any) -> list[Any]:
    page: dict[str, Any] = page_document(1, rows, Query(**query))
    return [each["sha256"] for each in page["items"]]


MANY = 103


@pytest.mark.parametrize(
    ("offset", "start", "count", "before", "after", "page"),
    [
        (0, 0, 25, None, 25, 1),
        (25, 25, 25, 0, 50, 2),
        (50, 50, 25, 25, 75, 3),
        (75, 75, 25, 50, 100, 4),
        (100, 100, 3, 75, None, 5),
        (9999, 100, 3, 75, None, 5),
        (10**30, 100, 3, 75, None, 5),
        (101, 100, 3, 75, None, 5),
        (1, 1, 25, None, 26, 1),
        (24, 24, 25, None, 49, 1),
        (26, 26, 25, 1, 51, 2),
        (80, 80, 23, 55, 103, 4),
    ],
)
def test_103_rows_by_25(offset: int, start: int, count: int, before: int | None, after: int | None, page: int) -> None:
    assert asdict(cut(MANY, 25, offset)) == {
        "total": 103, "count": count, "limit": 25, "offset": start, "prev_offset": before, "next_offset": after,
        "page": page, "pages": 5, "last_offset": 100,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("total", "limit", "pages", "last_offset", "next_offset"),
    [(1, 1, 1, 0, None), (100, 100, 1, 0, None), (101, 100, 2, 100, 100), (3, 10_000, 1, 0, None), (3, 1, 3, 2, 1)],
)
def test_the_first_page(total: int, limit: int, pages: int, last_offset: int, next_offset: int | None) -> None:
    found = cut(total, limit, 0)

    assert (found.page, found.pages, found.last_offset, found.next_offset) == (1, pages, last_offset, next_offset)
    assert (found.prev_offset, found.count) == (None, min(total, limit))


@pytest.mark.parametrize("offset", [0, 7])
def test_without_rows_there_is_no_page(offset: int) -> None:
    assert asdict(cut(0, 25, offset)) == {
        "total": 0, "count": 0, "limit": 25, "offset": 0, "prev_offset": None, "next_offset": None,
        "page": 0, "pages": 0, "last_offset": 0,
    }  # fmt: skip


def test_the_largest_come_first_unless_told_otherwise_and_an_unknown_size_is_the_smallest() -> None:
    rows = [row("a", 5), row("b", None), row("c", 70), row("d", 0)]

    assert shown(rows) == ["c", "a", "d", "b"]
    assert shown(rows, order=Order.ASC) == ["b", "d", "a", "c"]


def test_other_orders_are_ascending_unless_told_otherwise() -> None:
    rows = [row("b", providers=("x", "y")), row("c"), row("a", providers=())]

    assert shown(rows, sort=Sort.SHA256) == shown(rows, sort=Sort.PATH) == ["a", "b", "c"]
    assert shown(rows, sort=Sort.PATH, order=Order.DESC) == ["c", "b", "a"]
    assert shown(rows, sort=Sort.PROVIDERS_COUNT) == ["a", "c", "b"]


@pytest.mark.parametrize("order", list(Order))
def test_what_is_equal_is_in_the_order_of_digests_however_it_came(order: Order) -> None:
    rows = [row("c", 1), row("a", 1), row("b", 1)]

    assert shown(rows, order=order) == shown(rows[::-1], order=order) == ["a", "b", "c"]


def test_filters_are_exact_and_a_page_counts_what_they_let_through() -> None:
    rows = [
        row("a", 3, ("hf", "https"), ("qwen", "qwen:8b")),
        row("b", 2, ("hf",), ("qwen:8b",)),
        row("c", 1, ("https",), ("llama",)),
    ]

    assert shown(rows, provider="hf") == ["a", "b"]
    assert shown(rows, provider="h") == shown(rows, provider="HF") == shown(rows, provider="") == []
    assert shown(rows, model="qwen") == ["a"]
    assert shown(rows, model="qwen:8b", provider="https") == ["a"]
    page = page_document(7, rows, Query(provider="hf", limit=1))
    assert (page["rev"], page["total"], page["pages"], page["next_offset"]) == (7, 2, 2, 1)
