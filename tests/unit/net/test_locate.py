"""Where a URL leads: the short way for plain URLs says what the parser says."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.core.egress import HostPort, host_port
from reconciler.net.locate import MAX_PLAIN, Location, locate

HOSTS = st.sampled_from(
    ["models.example", "127.0.0.1", "10.0.0.1:8080", "a:443", "a:80", "a:", "a:b", "1.2.3", "a..b", "a-", "[::1]:80"]
)
PATHS = st.lists(st.text("ab.~_-%2F:@?#é \\", max_size=6), max_size=5).map("/".join)


def found(url: str) -> Location | None:
    try:
        return locate(url)
    except ValueError:
        return None


def told(url: str) -> Location | None:
    """What the parser says."""
    try:
        parsed = httpx.URL(url)
        target = host_port(str(parsed))
    except (httpx.InvalidURL, ValueError):
        return None
    if target.scheme not in ("http", "https") or not target.port:
        return None
    return Location(target, parsed.netloc.decode(), parsed.raw_path)


@given(st.sampled_from(["http", "https", "HTTP", "ftp"]), HOSTS, PATHS)
@example("https", "a", "b/./c/../d")
@example("https", "a", ".b")
@example("https", "a", "b//c")
@example("https", "a", "b/")
def test_a_url_leads_where_the_parser_says(scheme: str, host: str, path: str) -> None:
    url = f"{scheme}://{host}/{path}"
    assert found(url) == told(url)


def test_what_is_asked_is_the_path_and_the_query() -> None:
    found = locate("https://Models.Example:8443/a b/é?token=x#part")
    assert found == Location(HostPort("https", "models.example", 8443), "models.example:8443", b"/a%20b/%C3%A9?token=x")
    assert locate("http://models.example/a/b.gguf").path == b"/a/b.gguf"


@pytest.mark.parametrize(
    "url", ["https://a:0/x", "https://a:x/y", "https://a:99999/y", "ftp://a/x", "/x", "https:///x"]
)
def test_what_no_request_can_be_made_of_is_refused(url: str) -> None:
    assert found(url) is None


def test_a_url_without_end_is_refused() -> None:
    assert locate("https://a/" + "b" * MAX_PLAIN).path == b"/" + b"b" * MAX_PLAIN
    assert found("https://a/" + "b" * 2**17) is None
