from __future__ import annotations

import json

import pytest

from reconciler.cas import part_meta
from reconciler.core.stored import PartMeta


@pytest.mark.parametrize(
    "meta",
    [
        PartMeta((), None),
        PartMeta((("https://a/b", '"etag"'), ("https://c/d", None)), 2**40, ((0, 5), (2**39, 2**39))),
    ],
)
def test_a_meta_is_read_back_as_it_was_written(meta: PartMeta) -> None:
    assert part_meta.decode(part_meta.encode(meta)) == meta


def test_the_text_is_version_1_of_the_format() -> None:
    meta = PartMeta((("https://a/b", '"v"'),), 10, ((0, 4),))
    assert json.loads(part_meta.encode(meta)) == {
        "format": 1,
        "sources": [{"url": "https://a/b", "validator": '"v"'}],
        "size": 10,
        "segments": [[0, 4]],
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"[]",
        b"null",
        b'{"format": 2, "sources": [], "size": null, "segments": []}',
        b'{"format": 1, "sources": [], "size": null}',
        b'{"format": 1, "sources": [], "size": "10", "segments": []}',
        b'{"format": 1, "sources": [], "size": true, "segments": []}',
        b'{"format": 1, "sources": [], "size": -1, "segments": []}',
        b'{"format": 1, "sources": [{"url": 1, "validator": null}], "size": 1, "segments": []}',
        b'{"format": 1, "sources": [], "size": 1, "segments": [[0]]}',
        b'{"format": 1, "sources": [], "size": 1, "segments": [0]}',
    ],
)
def test_what_is_not_whole_or_of_another_format_is_no_meta(data: bytes) -> None:
    assert part_meta.decode(data) is None
