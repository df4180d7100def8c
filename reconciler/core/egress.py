"""Which addresses this node may talk to: the rules, without a resolver or a socket."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of `egress.allow`: a host, or `*.host` for its subdomains only; port None is any."""

    host: str
    port: int | None
    subdomains: bool

    def matches(self, host: str, port: int) -> bool:
        """Whether this entry names `host:port`; labels are compared whole, never as suffixes of text."""
        if self.port is not None and self.port != port:
            return False
        if self.subdomains:
            return host.endswith("." + self.host)
        return host == self.host


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`allow` None means any public https host; an entry lifts neither of the two flags."""

    allow: tuple[HostRule, ...] | None = None
    allow_http: bool = False
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where a connection goes."""

    scheme: str
    host: str
    port: int


def parse_host_rule(text: str) -> HostRule:
    """The rule written as `host`, `*.host`, `host:port` or `[v6]:port`; raises ValueError."""
    parts = urlsplit("//" + text)
    host = (parts.hostname or "").rstrip(".")
    if parts.path or parts.query or parts.username or not host:
        raise ValueError(f"wanted a host such as huggingface.co, *.hf.co or 127.0.0.1:8080, got {text!r}")
    subdomains = host.startswith("*.")
    bare = host.removeprefix("*.")
    if "*" in bare:
        raise ValueError(f"'*' is only allowed as the whole first label, got {text!r}")
    return HostRule(bare, parts.port, subdomains)


def host_port(url: str) -> HostPort:
    """Where `url` points, host in lower case without a trailing dot; raises ValueError."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise ValueError(f"no host in {url!r}")
    return HostPort(parts.scheme, host, parts.port or DEFAULT_PORTS.get(parts.scheme, 0))


def is_public(address: str) -> bool:
    """Whether an IP address is reachable on the public internet (no loopback, private, link-local…)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast


def refusal(policy: EgressPolicy, target: HostPort, *, exempt: HostPort | None = None) -> str | None:
    """Why `target` is refused before any name is resolved; None if it may go on to resolution.

    `exempt` is an endpoint the operator set: exactly its scheme, host and port pass.
    """
    if target == exempt:
        return None
    if target.scheme not in DEFAULT_PORTS:
        return f"the scheme {target.scheme!r} is not https"
    if target.scheme == "http" and not policy.allow_http:
        return "the scheme is http and egress.allow_http is not set"
    if policy.allow is not None and not any(rule.matches(target.host, target.port) for rule in policy.allow):
        return f"{target.host}:{target.port} is not in egress.allow"
    return address_refusal(policy, target, (target.host,)) if _is_address(target.host) else None


def address_refusal(
    policy: EgressPolicy, target: HostPort, addresses: tuple[str, ...], *, exempt: HostPort | None = None
) -> str | None:
    """Why the resolved `addresses` of `target` are refused; every one of them must be public."""
    if target == exempt or policy.allow_private:
        return None
    for address in addresses:
        if not is_public(address):
            return f"{target.host} is the private address {address} and egress.allow_private is not set"
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
