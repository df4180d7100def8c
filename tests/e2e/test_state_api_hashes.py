"""`GET /state/models_hashes`: pages of a list, while the document stays one that patches fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jsonpatch
import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.builders import digest
from tests.e2e.state_rig import Follower, Node, get, status_of

pytestmark = pytest.mark.e2e

NAMES = tuple(f"m{n}" for n in range(103))


@pytest.fixture(scope="module")
def running() -> Iterator[Node]:
    with Node() as node:
        node.shown(status_of(NAMES))
        yield node


def page(node: Node, **query: Any) -> Any:
    answer = get(node.base, f"/state/models_hashes?{urlencode(query)}")
    assert answer.status == 200
    return answer.json()


def shown(found: Any) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("rev", "items")}


def test_without_parameters_it_is_a_document_like_every_other(running: Node) -> None:
    document = get(running.base, "/state/models_hashes").json()

    assert set(document) == {"rev", "items"}
    assert set(document["items"]) == {digest(name) for name in NAMES}
    one = get(running.base, f"/state/models_hashes/{digest('m7')}").json()
    assert one == document["items"][digest("m7")]
    assert one["models"] == ["m7"]


def test_the_first_of_five_pages(running: Node) -> None:
    found = page(running, limit=25)

    assert shown(found) == {
        "total": 103, "count": 25, "limit": 25, "offset": 0, "prev_offset": None, "next_offset": 25,
        "page": 1, "pages": 5, "last_offset": 100,
    }  # fmt: skip
    assert [row["sha256"] for row in found["items"]] == sorted(map(digest, NAMES))[:25], "all are of one size"
    assert found["rev"] == get(running.base, "/state/models_hashes").json()["rev"]


def test_an_offset_behind_the_end_gives_the_last_page(running: Node) -> None:
    found = page(running, limit=25, offset=9999)

    assert shown(found) == {
        "total": 103, "count": 3, "limit": 25, "offset": 100, "prev_offset": 75, "next_offset": None,
        "page": 5, "pages": 5, "last_offset": 100,
    }  # fmt: skip
    assert found["items"] == page(running, limit=25, offset=100)["items"]


def test_a_hundred_rows_are_a_page_unless_told_otherwise(running: Node) -> None:
    assert (page(running, offset=0)["count"], page(running, offset=0)["pages"]) == (100, 2)
    assert page(running, limit=10_000)["count"] == 103


def test_rows_are_sorted_and_filtered(running: Node) -> None:
    digests = sorted(map(digest, NAMES))

    assert [row["sha256"] for row in page(running, sort="SHA256", order="Desc", limit=103)["items"]] == digests[::-1]
    assert [row["models"] for row in page(running, model="m7")["items"]] == [["m7"]]
    assert page(running, provider="https")["total"] == 103
    assert shown(page(running, provider="nobody")) == {
        "total": 0, "count": 0, "limit": 100, "offset": 0, "prev_offset": None, "next_offset": None,
        "page": 0, "pages": 0, "last_offset": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("offset=-1", "offset"),
        ("sort=size", "bytes, sha256, path, providers_count"),
        ("sort=", "bytes, sha256, path, providers_count"),
        ("order=up", "asc, desc"),
        ("page=2", "page"),
        ("limit=5&wait=1s&since=1", "wait"),
    ],
)
def test_what_can_not_be_honoured_is_refused(running: Node, query: str, named: str) -> None:
    answer = get(running.base, f"/state/models_hashes?{query}")

    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["reason"] == "BadParameter"
    assert named in answer.json()["detail"]


def test_no_path_of_this_machine_is_shown(running: Node) -> None:
    assert {row["path"] for row in page(running, limit=103)["items"]} == {f"by-hash/{digest(n)}" for n in NAMES}


def test_a_page_has_an_entity_tag_of_its_own(running: Node) -> None:
    first, second = (get(running.base, f"/state/models_hashes?limit=25&offset={offset}") for offset in (0, 25))
    tag = {"If-None-Match": first.headers["etag"]}

    assert first.headers["etag"] != second.headers["etag"]
    again = get(running.base, "/state/models_hashes?limit=25", tag)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert get(running.base, "/state/models_hashes?limit=25&offset=25", tag).status == 200
    head = get(running.base, "/state/models_hashes?limit=25", method="HEAD")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", first.headers["etag"])


def test_a_page_is_as_the_description_says(running: Node) -> None:
    description = get(running.base, "/openapi.json").json()
    schemas = {"components": {"schemas": description["components"]["schemas"]}}

    for query in ({"limit": 25}, {"limit": 25, "offset": 100}, {"model": "none"}):
        jsonschema.validate(page(running, **query), {"$ref": "#/components/schemas/Page", **schemas})


def test_what_is_removed_leaves_document_and_pages_by_a_patch() -> None:
    with Node() as node:
        node.shown(status_of(NAMES[:3]))
        before = get(node.base, "/state/models_hashes")
        with Follower(node.base, "?prefix=state.read.model.patch") as follower:
            node.publish(status_of(NAMES[:2]))
            patch = follower.until("state.read.model.patch")
            while patch.data["id"] != "models_hashes":
                patch = follower.until("state.read.model.patch")

        document = before.json()
        assert patch.data["base_rev"] == document.pop("rev")
        after = get(node.base, "/state/models_hashes").json()
        assert after.pop("rev") == patch.data["rev"]
        assert jsonpatch.apply_patch(document, patch.data["patch"]) == after
        assert {row["models"][0] for row in page(node, limit=5)["items"]} == {"m0", "m1"}
