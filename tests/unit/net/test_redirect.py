"""Which redirects are followed and what goes along."""

from __future__ import annotations

import pytest

from reconciler.core.job import Code
from reconciler.net.failure import NetError
from reconciler.net.redirect import MAX_REDIRECTS, Hop, next_hop

SECRET = (("Authorization", "Bearer x"),)


@pytest.mark.parametrize(
    ("base", "location", "url", "headers"),
    [
        ("https://a.example/x/y", "z", "https://a.example/x/z", SECRET),
        ("https://a.example/x", "/z?q=1#frag", "https://a.example/z?q=1", SECRET),
        ("https://a.example/x", "https://A.example:443/z", "https://A.example:443/z", SECRET),
        ("https://a.example/x", "//b.example/z", "https://b.example/z", ()),
        ("https://a.example/x", "https://a.example:444/z", "https://a.example:444/z", ()),
        ("https://a.example/x", "https://u:p@b.example/z", "https://b.example/z", ()),
        ("http://a.example/x", "https://a.example/x", "https://a.example/x", ()),
    ],
)
def test_headers_stay_with_their_scheme_host_and_port(
    base: str, location: str, url: str, headers: tuple[tuple[str, str], ...]
) -> None:
    assert next_hop((Hop(base, SECRET),), location) == Hop(url, headers)


@pytest.mark.parametrize(
    "location",
    [None, "", "http://a.example/", "ftp://a.example/", "https://", "https://.", "https://a:x/", "https://a.example/x"],
)
def test_a_downgrade_a_circle_and_nonsense_are_refused(location: str | None) -> None:
    with pytest.raises(NetError) as caught:
        next_hop((Hop("https://a.example/x", ()),), location)
    assert (caught.value.code, caught.value.transient) == (Code.REDIRECT_REFUSED, False)


def test_a_chain_may_have_ten_redirects_and_no_more() -> None:
    hops = tuple(Hop(f"https://a.example/{number}", ()) for number in range(MAX_REDIRECTS))
    hops = (*hops, next_hop(hops, "/last"))
    with pytest.raises(NetError):
        next_hop(hops, "/one-more")


def test_headers_once_dropped_do_not_come_back() -> None:
    first = Hop("https://a.example/x", SECRET)
    second = next_hop((first,), "https://b.example/y")
    assert next_hop((first, second), "https://a.example/z").headers == ()
