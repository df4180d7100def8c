"""Which addresses this node may talk to: the rules, without a resolver or a socket."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from reconciler.core.event import JsonValue
from reconciler.core.source import redact_url

DEFAULT_PORTS = {"https": 443, "http": 80}

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# RFC 6052: where only IPv6 is spoken, every IPv4 host has its address below this prefix.

_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)").fullmatch
# What resolvers take for an IPv4 address, such as 0x7f.1 (WHATWG URL, "ends in a number"); no name does.

_TO_NAME = "if you trust that host, name it in egress.allow"


class Posture(StrEnum):
    """How much a policy keeps back."""

    OFF = "off"
    """Nothing: any host over http and https, private ones too."""
    PUBLIC = "public"
    """Any public host over https."""
    ALLOWLIST = "allowlist"
    """Only what `egress.allow` names."""
    CUSTOM = "custom"
    """Any public host, and what one of the two flags adds."""


class Reason(StrEnum):
    """The rule that refuses a connection."""

    SCHEME = "scheme"
    ALLOWLIST = "allowlist"
    """`egress.allow` does not name the host."""
    PORT = "port"
    """`egress.allow` names the host, with other ports."""
    IP_LITERAL = "ip_literal"
    """The URL itself holds an address: a private one, or one that nobody named."""
    PRIVATE = "private"
    """The name leads to a private address."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of `egress.allow`: a host, or `*.host` for its subdomains only; port None is any."""

    host: str
    port: int | None
    subdomains: bool

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return ("*." if self.subdomains else "") + _bracketed(self.host) + port

    def matches(self, host: str, port: int) -> bool:
        """Whether this entry names `host:port`; labels are compared whole, never as suffixes of text."""
        return self.port in (None, port) and self.names(host)

    def names(self, host: str) -> bool:
        """The same for any port."""
        if self.subdomains:
            return host.endswith("." + self.host)
        return host == self.host


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`allow` None means any public https host that has a name; an entry lifts neither of the two flags."""

    allow: tuple[HostRule, ...] | None = None
    allow_http: bool = False
    allow_private: bool = False

    @property
    def posture(self) -> Posture:
        """The rules in one word."""
        if self.allow is not None:
            return Posture.ALLOWLIST
        if self.allow_http and self.allow_private:
            return Posture.OFF
        return Posture.CUSTOM if self.allow_http or self.allow_private else Posture.PUBLIC


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where a connection goes."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    def document(self) -> dict[str, JsonValue]:
        """As `dest` of an event."""
        return {"host": self.host, "port": self.port, "protocol": self.scheme}


def parse_host_rule(text: str) -> HostRule:
    """The rule written as `host`, `*.host`, `host:port` or `[v6]:port`; raises ValueError."""
    parts = urlsplit("//" + text)
    host = _canonical(parts.hostname)
    if host == "*":
        raise ValueError(f"wanted a host (for every one leave `allow` out), got {text!r}")
    is_bare = parts.netloc == text and "@" not in text and not text.endswith(":") and text.split() == [text]
    if not is_bare or not host:
        raise ValueError(f"wanted a host such as huggingface.co, *.hf.co or 127.0.0.1:8080, got {text!r}")
    if not host.isascii():
        raise ValueError(f"wanted the name as DNS knows it, such as xn--bcher-kva.example, got {text!r}")
    subdomains = host.startswith("*.")
    bare = host.removeprefix("*.")
    if "*" in bare:
        raise ValueError(f"'*' is only allowed as the whole first label, got {text!r}")
    return HostRule(bare, _port(parts, text), subdomains)


def _port(parts: SplitResult, text: str) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"wanted a port from 1 to 65535 after the host, or none for any, got {text!r}")
    return port


@lru_cache(maxsize=4096)  # plan, queue, preview and request ask the same of each URL
def host_port(url: str) -> HostPort:
    """Where `url` points, host in lower case without a trailing dot; raises ValueError."""
    parts = urlsplit(url)
    host = _canonical(parts.hostname)
    if not host:
        raise ValueError(f"no host in {url!r}")
    return HostPort(parts.scheme, host, DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port)


def is_public(address: str) -> bool:
    """Whether an IP address is reachable on the public internet (no loopback, private, link-local…)."""
    ip = _inner(ipaddress.ip_address(address.partition("%")[0]))
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is not made."""

    reason: Reason
    message: str
    hint: str | None = None
    """What would lift it; None: nothing does."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a policy says of a URL before any name is resolved."""

    url: str
    """Redacted."""
    target: HostPort
    posture: Posture
    refusal: Refusal | None
    """None: the request may be made; a name that turns out to be private is still refused then."""


def preview(policy: EgressPolicy, url: str, *, exempt: HostPort | None = None) -> Preview:
    """What `refusal` says of `url`; raises ValueError if it leads nowhere."""
    target = host_port(url)
    return Preview(redact_url(url), target, policy.posture, refusal(policy, target, exempt=exempt))


def refusal(policy: EgressPolicy, target: HostPort, *, exempt: HostPort | None = None) -> Refusal | None:
    """Why `target` is refused before any name is resolved; None if it may go on to resolution.

    `exempt` is an endpoint the operator set: exactly its scheme, host and port pass.
    """
    if target == exempt:
        return None
    if target.scheme not in DEFAULT_PORTS:
        return Refusal(Reason.SCHEME, f"the scheme {target.scheme!r} is not https")
    if target.scheme == "http" and not policy.allow_http:
        return Refusal(Reason.SCHEME, "the scheme is http and egress.allow_http is not set", _to_set("allow_http"))
    if policy.allow is not None and not any(rule.matches(target.host, target.port) for rule in policy.allow):
        reason = Reason.PORT if any(rule.names(target.host) for rule in policy.allow) else Reason.ALLOWLIST
        return Refusal(reason, f"{target} is not in egress.allow", _TO_NAME)
    if is_address(target.host):
        return _literal_refusal(policy, target)
    if _ENDS_IN_NUMBER(target.host):
        return Refusal(Reason.IP_LITERAL, f"{target.host} is an address that is not written as one, such as 192.0.2.1")
    return None


def _literal_refusal(policy: EgressPolicy, target: HostPort) -> Refusal | None:
    """Why an address that stands in the URL itself is refused: nobody could say later whom it belonged to."""
    private = address_refusal(policy, target, (target.host,))
    if private is not None or policy.allow is not None or policy.allow_private:
        return private
    message = f"{target.host} is an address, not a name, and egress.allow does not name it"
    hint = "if you trust that host, set egress.allow_private, or name every host that may be asked in egress.allow"
    return Refusal(Reason.IP_LITERAL, message, hint)


def address_refusal(
    policy: EgressPolicy, target: HostPort, addresses: tuple[str, ...], *, exempt: HostPort | None = None
) -> Refusal | None:
    """Why the resolved `addresses` of `target` are refused; every one of them must be public."""
    if target == exempt or policy.allow_private:
        return None
    for address in addresses:
        if not is_public(address):
            is_literal = address == target.host
            reason = Reason.IP_LITERAL if is_literal else Reason.PRIVATE
            what = "a private address" if is_literal else f"the private address {address}"
            message = f"{target.host} is {what} and egress.allow_private is not set"
            return Refusal(reason, message, _to_set("allow_private"))
    return None


def _to_set(flag: str) -> str:
    return f"if you trust that host, set egress.{flag} in the manifest"


def is_address(host: str) -> bool:
    """Whether `host` is an address and not a name."""
    return _address(host) is not None


def _canonical(host: str | None) -> str:
    """`host` without a trailing dot; an address in its one usual spelling."""
    bare = (host or "").rstrip(".")
    return str(_address(bare) or bare)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@lru_cache(maxsize=4096)  # parsing an address costs as much as sending a small request, and there are few hosts
def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` is; None for a name."""
    if ":" not in host and not host[-1:].isdigit():
        return None  # a plan asks this of every source, and trying to parse a name costs 10 µs
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that a translator or tunnel sends to for `ip`; `ip` itself where there is none."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
