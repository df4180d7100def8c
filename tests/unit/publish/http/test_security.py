"""Who may ask: Host, Origin, token, method, in this order."""

from __future__ import annotations

import hashlib

import pytest

from reconciler.core.errors import StalledError
from reconciler.publish.http.config import ApiConfig
from reconciler.publish.http.security import Asked, refusal

LOCAL = ApiConfig("127.0.0.1", 8470)
LAN = ApiConfig("192.168.1.5", 8470, "secret", ("node.lan",))
EVERYWHERE = ApiConfig("0.0.0.0", 8470, "secret", ("node.lan",))
BEARER = ("Bearer secret",)


def refused(config: ApiConfig, host: str = "127.0.0.1:8470", **asked: object) -> str | None:
    fields = {"method": "GET", "path": "/state/models", "hosts": (host,), **asked}
    found = refusal(Asked(**fields), config)  # type: ignore[arg-type]
    return None if found is None else found.reason


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8470", "127.8.8.8", "localhost", "LOCALHOST:1", "localhost.", "[::1]:8470", "[::1]"],
)
def test_names_of_the_loopback_are_known_whatever_the_port(host: str) -> None:
    assert refused(LOCAL, host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.5",
        "",
        "[",
        "a@localhost:x:y",
        "::1",
    ],
)
def test_another_host_is_refused(host: str) -> None:
    assert refused(LOCAL, host) == "HostRefused"


def test_a_request_without_a_host_is_refused() -> None:
    assert refused(LOCAL, hosts=()) == "HostRefused"


def test_of_several_hosts_each_must_be_known() -> None:
    assert refused(LOCAL, hosts=("localhost", "evil.example")) == "HostRefused"


@pytest.mark.parametrize("host", ["192.168.1.5:8470", "node.lan", "NODE.lan:80", "localhost"])
def test_the_address_and_the_names_that_were_set_are_known(host: str) -> None:
    assert refused(LAN, host, authorizations=BEARER) is None


def test_on_all_addresses_any_address_is_known_but_no_other_name() -> None:
    assert refused(EVERYWHERE, "10.0.0.7:8470", authorizations=BEARER) is None
    assert refused(EVERYWHERE, "[fe80::7]:8470", authorizations=BEARER) is None
    assert refused(EVERYWHERE, "rebound.example", authorizations=BEARER) == "HostRefused"


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8470", "HTTP://127.0.0.1:8470".lower()])
def test_pages_of_the_node_itself_may_ask(origin: str) -> None:
    assert refused(LOCAL, origins=(origin,)) is None


def test_the_default_port_of_an_origin_may_be_left_out() -> None:
    assert refused(LOCAL, "localhost", origins=("http://localhost:80",)) is None
    assert refused(LOCAL, "localhost", origins=("https://localhost",)) is None
    assert refused(LOCAL, "localhost:443", origins=("https://localhost",)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://localhost:8470",
        "file://",
        "http://127.0.0.1:x",
        "",
    ],
)
def test_pages_of_others_may_not_ask(origin: str) -> None:
    assert refused(LOCAL, origins=(origin,)) == "OriginRefused"


@pytest.mark.parametrize(
    "authorizations",
    [
        (),
        ("Bearer wrong",),
        ("Bearer",),
        ("secret",),
        ("Basic secret",),
        ("Bearer secret",) * 2,
        ("Bearer sécret",),
        (f"Bearer {hashlib.sha256(b'secret').hexdigest()}",),
        ("",),
    ],
)
def test_without_the_right_token_there_is_one_answer_for_everything(authorizations: tuple[str, ...]) -> None:
    paths = ("/state/models", "/events", "/metrics", "/openapi.json", "/no/such/thing", "/healthz/")
    found = {refusal(Asked("GET", path, ("node.lan",), (), authorizations), LAN) for path in paths}
    (only,) = found
    assert only is not None
    assert only.status == 401
    assert dict(only.headers) == {"WWW-Authenticate": 'Bearer realm="reconciler"'}


@pytest.mark.parametrize("authorization", ["Bearer secret", "bearer secret", "BEARER  secret"])
def test_the_right_token_opens(authorization: str) -> None:
    assert refused(LAN, "node.lan", authorizations=(authorization,)) is None


def test_a_token_that_is_not_ascii_works() -> None:
    config = ApiConfig(token="gehëim")
    sent = "Bearer " + "gehëim".encode().decode("latin-1")  # what a client that sends UTF-8 looks like here
    assert refused(config, authorizations=(sent,)) is None


def test_probes_need_no_token() -> None:
    assert refused(LAN, "node.lan", path="/healthz") is None
    assert refused(LAN, "node.lan", path="/readyz") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_only_reading_is_allowed(method: str) -> None:
    found = refusal(Asked(method, "/state/models", ("localhost",)), LOCAL)
    assert found is not None
    assert (found.status, found.reason, dict(found.headers)) == (405, "ReadOnly", {"Allow": "GET, HEAD"})


def test_a_stranger_learns_nothing_of_methods() -> None:
    assert refused(LAN, "node.lan", method="POST") == "Unauthorized"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_the_loopback_needs_no_token(host: str) -> None:
    ApiConfig(host).check()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "node.lan", "", "localhost.evil.example"])
@pytest.mark.parametrize("token", [None, ""])
def test_any_other_address_without_a_token_is_refused_at_the_start(host: str, token: str | None) -> None:
    with pytest.raises(StalledError, match="needs a token") as caught:
        ApiConfig(host, token=token).check()
    assert caught.value.reason == "ApiTokenMissing"
    assert "RECONCILER_API_TOKEN" in (caught.value.hint or "")
    ApiConfig(host, token="secret").check()
