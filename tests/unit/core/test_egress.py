"""Which addresses this node may talk to."""

from __future__ import annotations

import pytest

from reconciler.core.egress import (
    EgressPolicy,
    HostPort,
    HostRule,
    Posture,
    Reason,
    Refusal,
    address_refusal,
    host_port,
    is_public,
    parse_host_rule,
    preview,
    refusal,
)


def _allowed(rule: str, host: str, port: int = 443) -> bool:
    return parse_host_rule(rule).matches(host, port)


def _policy(*rules: str, http: bool = False, private: bool = False) -> EgressPolicy:
    return EgressPolicy(tuple(parse_host_rule(rule) for rule in rules), http, private)


# ---- entries of `allow` ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("huggingface.co", HostRule("huggingface.co", None, False)),
        ("HuggingFace.CO.", HostRule("huggingface.co", None, False)),
        ("*.hf.co", HostRule("hf.co", None, True)),
        ("*.hf.co:8443", HostRule("hf.co", 8443, True)),
        ("127.0.0.1:8080", HostRule("127.0.0.1", 8080, False)),
        ("[::1]:8080", HostRule("::1", 8080, False)),
        ("[0:0:0:0:0:0:0:1]", HostRule("::1", None, False)),
        ("localhost", HostRule("localhost", None, False)),
        ("gpu1", HostRule("gpu1", None, False)),
    ],
)
def test_an_entry_is_a_host_with_or_without_a_port(text: str, rule: HostRule) -> None:
    assert parse_host_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "*",
        "*.",
        "a.*.co",
        "*.*.co",
        "a*.co",
        "https://huggingface.co",
        "huggingface.co/path",
        "huggingface.co?x",
        "huggingface.co#x",
        "user@huggingface.co",
        "@huggingface.co",
        "hugging face.co",
        "huggingface.co:99999",
        "huggingface.co:http",
        "huggingface.co:0",
        "huggingface.co:",
        "b\u00fccher.example",
        "\uff11\uff12\uff17.0.0.1",
        "::1",
        "[::1",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — some messages are the standard library's
        parse_host_rule(text)


def test_a_host_matches_itself_on_any_port_unless_one_is_named() -> None:
    assert _allowed("huggingface.co", "huggingface.co", 443)
    assert _allowed("huggingface.co", "huggingface.co", 8443)
    assert _allowed("huggingface.co:443", "huggingface.co", 443)
    assert not _allowed("huggingface.co:443", "huggingface.co", 8443)


@pytest.mark.parametrize("host", ["cdn.hf.co", "a.b.hf.co"])
def test_a_star_matches_every_subdomain(host: str) -> None:
    assert _allowed("*.hf.co", host)


@pytest.mark.parametrize("host", ["hf.co", "evilhf.co", "hf.co.evil.example", "xhf.co"])
def test_a_star_matches_neither_the_domain_itself_nor_a_name_that_only_ends_alike(host: str) -> None:
    assert not _allowed("*.hf.co", host)


def test_a_host_does_not_match_its_subdomains() -> None:
    assert not _allowed("hf.co", "cdn.hf.co")


def test_a_star_keeps_to_its_port() -> None:
    assert _allowed("*.hf.co:8443", "cdn.hf.co", 8443)
    assert not _allowed("*.hf.co:8443", "cdn.hf.co", 443)


# ---- where a URL leads -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://Example.COM/a", HostPort("https", "example.com", 443)),
        ("http://example.com./a", HostPort("http", "example.com", 80)),
        ("https://example.com:8443/a", HostPort("https", "example.com", 8443)),
        ("https://user:pw@example.com/a", HostPort("https", "example.com", 443)),
        ("https://[2606:4700::1111]/a", HostPort("https", "2606:4700::1111", 443)),
        ("https://[0:0:0:0:0:0:0:1]/a", HostPort("https", "::1", 443)),
        ("https://example.com:0/a", HostPort("https", "example.com", 0)),
        ("ftp://example.com/a", HostPort("ftp", "example.com", 0)),
    ],
)
def test_a_url_leads_to_a_host_and_a_port(url: str, where: HostPort) -> None:
    assert host_port(url) == where


@pytest.mark.parametrize("url", ["https:///a", "file:/a", "https://:80/", "", "https://example.com:99999/"])
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — some messages are the standard library's
        host_port(url)


# ---- before resolution -------------------------------------------------------------------------


def _refused(policy: EgressPolicy, url: str, exempt: str | None = None) -> str | None:
    found = refusal(policy, host_port(url), exempt=None if exempt is None else host_port(exempt))
    return None if found is None else found.message


def test_any_public_https_host_may_be_asked_by_default() -> None:
    assert _refused(EgressPolicy(), "https://example.com/a") is None


def test_other_schemes_than_https_and_http_are_refused_whatever_is_allowed() -> None:
    assert _refused(_policy("example.com", http=True, private=True), "ftp://example.com/a") == (
        "the scheme 'ftp' is not https"
    )


def test_http_needs_its_flag_even_for_an_allowed_host() -> None:
    assert _refused(_policy("example.com"), "http://example.com/a") is not None
    assert _refused(_policy("example.com", http=True), "http://example.com/a") is None


def test_a_list_of_allowed_hosts_refuses_all_others() -> None:
    assert _refused(_policy("huggingface.co", "*.hf.co"), "https://example.com/a") == (
        "example.com:443 is not in egress.allow"
    )
    assert _refused(_policy("huggingface.co", "*.hf.co"), "https://cdn.hf.co/a") is None


def test_a_refused_address_is_shown_as_the_list_takes_it() -> None:
    assert _refused(_policy("huggingface.co"), "https://[2001:DB8::1]/a") == (
        "[2001:db8::1]:443 is not in egress.allow"
    )
    assert _refused(_policy("[2606:4700::1]:443"), "https://[2606:4700::1]/a") is None


def test_an_empty_list_allows_nothing() -> None:
    assert _refused(EgressPolicy(()), "https://example.com/a") is not None


def test_an_allowed_private_address_still_needs_its_flag() -> None:
    assert _refused(_policy("127.0.0.1:8080"), "https://127.0.0.1:8080/a") == (
        "127.0.0.1 is a private address and egress.allow_private is not set"
    )
    assert _refused(_policy("127.0.0.1:8080", private=True), "https://127.0.0.1:8080/a") is None
    assert _refused(_policy("127.0.0.1:8080", private=True), "https://127.0.0.1:9090/a") is not None


def test_a_private_address_is_refused_without_a_list_too() -> None:
    assert _refused(EgressPolicy(), "https://10.1.2.3/a") is not None
    assert _refused(EgressPolicy(), "https://[::1]/a") is not None


def test_a_public_address_in_a_url_needs_to_be_named_or_all_addresses_allowed() -> None:
    url = "https://8.8.8.8/a"
    assert _refused(EgressPolicy(), url) == "8.8.8.8 is an address, not a name, and egress.allow does not name it"
    assert _refused(EgressPolicy(allow_http=True), url) is not None
    assert _refused(_policy("8.8.8.8"), url) is None
    assert _refused(EgressPolicy(allow_private=True), url) is None


@pytest.mark.parametrize("host", ["134744072", "8.8.2056", "0x08080808", "0x8.0x8.0x8.0X8", "127.1", "a.example.1"])
@pytest.mark.parametrize("policy", [EgressPolicy(), EgressPolicy(allow_private=True)])
def test_what_resolvers_take_for_an_address_is_none_of_the_names(host: str, policy: EgressPolicy) -> None:
    assert "not written as one" in (_refused(policy, f"https://{host}/a") or "")
    assert _refused(policy, f"https://{host}.example/a") is None


def test_an_address_matches_however_it_is_written() -> None:
    assert _refused(_policy("[::1]", private=True), "https://[0:0:0:0:0:0:0:1]/a") is None


def test_an_endpoint_of_the_operator_is_exempt_at_exactly_its_address() -> None:
    endpoint = "http://127.0.0.1:8080"

    assert _refused(_policy("huggingface.co"), "http://127.0.0.1:8080/x", endpoint) is None
    assert _refused(_policy("huggingface.co"), "http://127.0.0.1:8081/x", endpoint) is not None
    assert _refused(_policy("huggingface.co"), "https://127.0.0.1:8080/x", endpoint) is not None
    assert _refused(_policy("huggingface.co"), "http://localhost:8080/x", endpoint) is not None


# ---- after resolution --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_addresses_that_lead_inside_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "::127.0.0.1",
    ],
)
def test_a_private_address_stays_private_inside_one_of_version_6(address: str) -> None:
    assert not is_public(address)


def test_every_resolved_address_must_be_public() -> None:
    target = host_port("https://example.com/a")

    assert address_refusal(EgressPolicy(), target, ("8.8.8.8", "2606:4700::1111")) is None
    assert address_refusal(EgressPolicy(), target, ("8.8.8.8", "10.0.0.1")) == Refusal(
        Reason.PRIVATE,
        "example.com is the private address 10.0.0.1 and egress.allow_private is not set",
        "if you trust that host, set egress.allow_private in the manifest",
    )


@pytest.mark.parametrize(
    ("policy", "url", "hint"),
    [
        (EgressPolicy(), "http://example.com/a", "if you trust that host, set egress.allow_http in the manifest"),
        (EgressPolicy(), "ftp://example.com/a", None),
        (EgressPolicy(), "https://10.0.0.1/a", "if you trust that host, set egress.allow_private in the manifest"),
        (
            EgressPolicy(),
            "https://8.8.8.8/a",
            "if you trust that host, set egress.allow_private, or name every host that may be asked in egress.allow",
        ),
        (_policy("10.0.0.1"), "https://10.0.0.1/a", "if you trust that host, set egress.allow_private in the manifest"),
        (_policy("hf.co"), "https://example.com/a", "if you trust that host, name it in egress.allow"),
        (_policy("hf.co:8443"), "https://hf.co/a", "if you trust that host, name it in egress.allow"),
    ],
)
def test_a_refusal_says_what_would_lift_it(policy: EgressPolicy, url: str, hint: str | None) -> None:
    found = refusal(policy, host_port(url))

    assert found is not None
    assert found.hint == hint


def test_private_addresses_are_allowed_by_flag_or_for_the_exempt_endpoint() -> None:
    target = host_port("http://hub.lan:8080/a")

    assert address_refusal(EgressPolicy(allow_private=True), target, ("10.0.0.1",)) is None
    assert address_refusal(EgressPolicy(), target, ("10.0.0.1",), exempt=target) is None
    assert address_refusal(EgressPolicy(), target, ("10.0.0.1",), exempt=host_port("http://hub.lan/")) is not None


# ---- in one word, and beforehand ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "posture"),
    [
        (EgressPolicy(), Posture.PUBLIC),
        (EgressPolicy(allow_http=True, allow_private=True), Posture.OFF),
        (EgressPolicy(allow_http=True), Posture.CUSTOM),
        (EgressPolicy(allow_private=True), Posture.CUSTOM),
        (_policy("hf.co"), Posture.ALLOWLIST),
        (_policy("hf.co", http=True, private=True), Posture.ALLOWLIST),
        (EgressPolicy(()), Posture.ALLOWLIST),
    ],
)
def test_a_policy_has_a_posture(policy: EgressPolicy, posture: Posture) -> None:
    assert policy.posture is posture


@pytest.mark.parametrize(
    ("policy", "url", "reason"),
    [
        (EgressPolicy(), "https://example.com/a", None),
        (EgressPolicy(), "http://example.com/a", Reason.SCHEME),
        (EgressPolicy(), "ftp://example.com/a", Reason.SCHEME),
        (EgressPolicy(), "https://8.8.8.8/a", Reason.IP_LITERAL),
        (EgressPolicy(), "https://10.0.0.1/a", Reason.IP_LITERAL),
        (EgressPolicy(), "https://[::ffff:10.0.0.1]/a", Reason.IP_LITERAL),
        (_policy("hf.co"), "https://example.com/a", Reason.ALLOWLIST),
        (_policy("*.hf.co"), "https://hf.co/a", Reason.ALLOWLIST),
        (_policy("hf.co:8443"), "https://hf.co/a", Reason.PORT),
        (_policy("*.hf.co:8443"), "https://cdn.hf.co/a", Reason.PORT),
        (_policy("hf.co:8443"), "https://hf.co:8443/a", None),
    ],
)
def test_a_preview_names_the_rule_that_refuses(policy: EgressPolicy, url: str, reason: Reason | None) -> None:
    found = preview(policy, url)
    assert (found.target, found.posture) == (host_port(url), policy.posture)
    assert (None if found.refusal is None else found.refusal.reason) == reason


def test_a_preview_knows_the_endpoint_of_the_operator() -> None:
    assert preview(EgressPolicy(), "http://10.0.0.1:80/a", exempt=host_port("http://10.0.0.1")).refusal is None
