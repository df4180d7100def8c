"""Faults of where the bytes are: redirects, names, certificates."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.egress import EgressPolicy, parse_host_rule
from reconciler.core.job import Code
from tests.fakes.origin import Fault
from tests.faults.world import (
    HALF,
    HONEST,
    LOOPBACK,
    NAME,
    Group,
    Part,
    Row,
    Secure,
    World,
    fails,
    published,
    waits,
)

CONNECT, DENIED, REFUSED = Code.CONNECT, Code.EGRESS_DENIED, Code.REDIRECT_REFUSED
NOT_FOUND = Code.NOT_FOUND
CUT = Fault(cut_after_bytes=HALF)
PUBLIC = EgressPolicy(allow_http=True)
ONE_HOST = replace(LOOPBACK, allow=(parse_host_rule("127.0.0.1"),))
FILE = (("/file", (), HONEST),)


def to(location: str) -> Fault:
    """A redirect."""
    return Fault(redirect=location)


def refused(name: str, location: str, **world: object) -> Row:
    """A redirect that is not followed."""
    return Row(name, World(always=to(location), **world), fails(REFUSED, REFUSED))  # type: ignore[arg-type]


REDIRECTS = Group(
    "Redirects",
    (
        Row("to another path", World(always=to("/file"), places=FILE), published(requests=2)),
        Row("to another host", World(always=to("{other}/m")), published(requests=2)),
        Row(
            "with a large body",
            World(always=Fault(redirect="{other}/m", body=b"x" * 100_000)),
            published(requests=2, sent=1.4),
        ),
        Row(
            "dropped behind a redirect",
            World(always=to("/file"), places=(("/file", (CUT,), HONEST),)),
            published(CONNECT, requests=4),
        ),
        Row(
            "a file that has moved in the middle",
            World((to("/file"),), always=to("{other}/m"), places=(("/file", (CUT,), Fault(status=404)),)),
            published(CONNECT, requests=4),
        ),
        Row(
            "a file that is gone in the middle",
            World(always=to("/file"), places=(("/file", (CUT,), Fault(status=404)),)),
            fails(NOT_FOUND, CONNECT, NOT_FOUND, part=Part.KEPT, requests=4, sent=0.5),
        ),
        Row(
            "a file that is gone in the middle, and found by the next process",
            World(
                (to("/file"), to("/file")),
                always=to("/new"),
                places=(("/file", (CUT,), Fault(status=404)), ("/new", (), HONEST)),
                runs=2,
            ),
            published(CONNECT, NOT_FOUND, requests=6),
        ),
        Row("a circle", World(always=to("/m")), fails(REFUSED, REFUSED)),
        Row(
            "a chain of eleven",
            World(always=to("/1"), places=tuple((f"/{n}", (), to(f"/{n + 1}")) for n in range(1, 20))),
            fails(REFUSED, REFUSED, requests=11),
        ),
        refused("from https to http", "{other}/m", secure=Secure.TRUSTED),
        refused("to no address", ""),
        refused("to another scheme", "ftp://127.0.0.1/m"),
        refused("to a file of this machine", "file:///etc/passwd"),
        refused("to a port that can't be", "http://127.0.0.1:99999/"),
        refused("to half an IPv6 address", "http://[::1/"),
        refused("to a host that is a dot", "http://./m"),
        refused("to a host that is not text", "http://\xff\xfe\xad/m"),
        Row(
            "to an address with a password in it",
            World(always=to("http://me:s3cret@127.0.0.1:{other_port}/m")),
            published(requests=2),
        ),
        Row("with a password for the first host", World(always=to("{other}/m"), password=True), published(requests=2)),
        Row("with a token for the hub", World(always=to("{other}/m"), hub=True), published(requests=2)),
    ),
)

EGRESS = Group(
    "Egress, names and certificates",
    (
        Row("http is not allowed", World(egress=EgressPolicy(allow_private=True)), fails(DENIED, DENIED, requests=0)),
        Row("a private address", World(egress=PUBLIC), fails(DENIED, DENIED, requests=0)),
        Row(
            "a redirect to a private address",
            World(always=to("http://169.254.169.254/"), hub=True, egress=PUBLIC),
            fails(DENIED, DENIED),
        ),
        Row(
            "a redirect to a private address in another spelling",
            World(always=to("http://2130706433/"), hub=True, egress=PUBLIC),
            fails(DENIED, DENIED),
        ),
        Row(
            "a redirect out of the allow-list",
            World(always=to("http://localhost:{other_port}/m"), egress=ONE_HOST),
            fails(DENIED, DENIED),
        ),
        Row(
            "a name that does not resolve",
            World(host="no-such-host.invalid"),
            waits(CONNECT, CONNECT, CONNECT, requests=0),
        ),
        Row(
            "a name that resolves to a private address",
            World(host=NAME, egress=PUBLIC),
            fails(DENIED, DENIED, requests=0),
        ),
        Row(
            "a name with a public and a private address",
            World(host=NAME, addresses=("93.184.215.14", "127.0.0.1"), egress=PUBLIC),
            fails(DENIED, DENIED, requests=0),
        ),
        Row("a name whose first address is dead", World(host=NAME, addresses=("127.0.0.2", "127.0.0.1")), published()),
        Row("a certificate that is right", World(secure=Secure.TRUSTED), published()),
        Row("a certificate of an unknown authority", World(secure=Secure.UNKNOWN), fails(CONNECT, CONNECT, requests=0)),
        Row("a certificate that has expired", World(secure=Secure.EXPIRED), fails(CONNECT, CONNECT, requests=0)),
        Row("a certificate for another name", World(secure=Secure.OTHER_NAME), fails(CONNECT, CONNECT, requests=0)),
    ),
)
