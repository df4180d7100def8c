"""Whatever rows there are, following `next_offset` from 0 shows each of them once, and `prev_offset` leads back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.publish.page import Order, Query, Sort, cut, page_document

TOTALS = st.integers(0, 500)
LIMITS = st.integers(1, 120)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "bytes": st.none() | st.integers(0, 3),
            "providers": st.lists(st.sampled_from(["hf", "https"]), max_size=2),
            "models": st.just(["m"]),
        }
    ),
    max_size=40,
)


@given(TOTALS, LIMITS, st.integers(0, 1000))
def test_a_page_lies_within_the_rows_and_its_neighbours_exist(total: int, limit: int, offset: int) -> None:
    found = cut(total, limit, offset)

    assert 0 <= found.count <= limit
    assert found.offset + found.count <= total
    assert found.offset == min(offset, found.last_offset)
    assert (found.count == 0) == (total == 0)
    assert (found.prev_offset is None) == (found.page <= 1)
    assert (found.next_offset is None) == (found.page == found.pages)
    assert found.page <= found.pages
    assert found.last_offset + limit >= total
    if found.next_offset is not None:
        assert found.offset < found.next_offset == found.offset + found.count


@given(TOTALS, LIMITS, st.integers(0, 1000))
def test_from_anywhere_the_pages_end(total: int, limit: int, offset: int) -> None:
    seen = []
    found = cut(total, limit, offset)
    while found.next_offset is not None:
        seen.append(found.offset)
        found = cut(total, limit, found.next_offset)

    assert seen == sorted(set(seen))
    assert found.offset + found.count == total


@given(ROWS, LIMITS, st.sampled_from(Sort), st.none() | st.sampled_from(Order))
def test_every_row_is_shown_once_there_and_back(
    rows: list[dict[str, Any]], limit: int, sort: Sort, order: Order | None
) -> None:
    named = [{"sha256": f"{n:04}", "path": f"by-hash/{n:04}", **each} for n, each in enumerate(rows)]

    def page(offset: int) -> dict[str, Any]:
        return page_document(1, named, Query(limit, offset, sort=sort, order=order))

    pages = [page(0)]
    while (after := pages[-1]["next_offset"]) is not None:
        pages.append(page(after))
    back = [pages[-1]]
    while (before := back[-1]["prev_offset"]) is not None:
        back.append(page(before))

    whole: Any = page_document(1, named[::-1], Query(10_000, sort=sort, order=order))["items"]
    assert [item for each in pages for item in each["items"]] == whole
    assert sorted(item["sha256"] for item in whole) == [each["sha256"] for each in named]
    assert back[::-1] == pages
