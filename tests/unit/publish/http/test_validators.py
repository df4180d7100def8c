"""Entity tags and whether the client's copy is current."""

from __future__ import annotations

import pytest

from reconciler.publish.http.validators import is_current, tag_of

TAG = '"00000001-17"'


@pytest.mark.parametrize("header", [TAG, f"W/{TAG}", "*", f'"other", {TAG}', f'  {TAG}  ,"x"'])
def test_a_tag_that_is_named_is_current(header: str) -> None:
    assert is_current(header, TAG)


@pytest.mark.parametrize("header", [None, "", '"other"', "00000001-17", '"00000001-1"', '"00000001-17', ",", '"*"'])
def test_anything_else_is_not(header: str | None) -> None:
    assert not is_current(header, TAG)


def test_equal_bytes_have_equal_tags_and_others_do_not() -> None:
    assert tag_of(b"a") == tag_of(b"a") != tag_of(b"b")
    assert is_current(tag_of(b"a"), tag_of(b"a"))
