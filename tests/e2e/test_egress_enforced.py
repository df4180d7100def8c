"""Egress is decided on where a connection really goes: spellings, tricks, rebinding, redirects; over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.core.digest import Digest, digest_of
from reconciler.core.egress import EgressPolicy, host_port, parse_host_rule
from reconciler.core.job import Code
from reconciler.core.source import HuggingFaceFile
from reconciler.net.client import Session
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.failure import FetchError
from reconciler.transfer.segments import LEAST_BYTES
from tests.e2e.fetch_rig import LOOPBACK, Rig, close_all
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.ledger import check_ledger_row

pytestmark = pytest.mark.e2e

DATA = b"weights" * 1000
DIGEST = digest_of(DATA)
HF_FILE = HuggingFaceFile("org/repo", "0" * 40, "m.gguf")
HF_PATH = f"/org/repo/resolve/{'0' * 40}/m.gguf"
PUBLIC_HTTP = EgressPolicy(allow_http=True)

INSIDE = [
    "127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
    "127.0.0.1%2e", "localhost", "LOCALHOST", "localhost.", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]", "[::127.0.0.1]", "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1", "0", "0.0.0.0", "[::]",
]  # fmt: skip
"""Ways to write this machine; some are no names at all."""


@pytest.fixture
def origin() -> Iterator[OriginSimulator]:
    with OriginSimulator() as simulator:
        simulator.put("/m", DATA)
        yield simulator


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def rig_of(tmp_path: Path, egress: EgressPolicy, *resolved: str, **fields: object) -> Rig:
    """A rig whose names all lead to `resolved`; without it they are looked up."""
    if resolved:
        fields["session"] = Session(SystemClock(), resolve=lambda host, port: resolved)
    return Rig(tmp_path, egress=egress, retries=0, **fields)  # type: ignore[arg-type]


def allowing(*rules: str) -> EgressPolicy:
    return replace(LOOPBACK, allow=tuple(map(parse_host_rule, rules)))


def on_the_wire(url: str) -> str:
    """`url` as a header that holds UTF-8."""
    return url.encode().decode("latin-1")


def code_of(rig: Rig, url: str) -> Code | None:
    """Why the fetch failed; None if it did not. Every row of the ledger is as the schema says."""
    code = None
    try:
        rig.fetch(url, DIGEST, len(DATA))
    except FetchError as error:
        code = error.code
    for row in rig.report.rows:
        check_ledger_row(row)
    return code


# ---- another policy while a download runs ------------------------------------------------------


@pytest.mark.parametrize("segments", [1, 4])
def test_a_redirect_target_that_is_not_allowed_any_more_is_asked_nothing_more(
    tmp_path: Path, origin: OriginSimulator, segments: int
) -> None:
    long = Pattern(4 * LEAST_BYTES)
    rig = rig_of(tmp_path, allowing("127.0.0.1", "localhost"), segments=segments, preflight=segments > 1)

    def narrow(_: float) -> None:
        rig.egress = allowing("127.0.0.1")

    rig.retries, rig.sleep = 9, narrow
    origin.put("/there", long, always=Fault(cut_after_bytes=2**20))
    url = origin.put("/here", always=Fault(redirect=origin.url("/there", host="localhost")))
    with pytest.raises(FetchError) as failed:
        rig.fetch(url, Digest(long.sha256), long.size_bytes)
    assert failed.value.code is Code.EGRESS_DENIED
    assert len(origin.to("/there")) <= segments
    assert len(origin.to("/here")) > len(origin.to("/there"))


def test_a_policy_that_changes_during_a_redirect_holds_for_its_next_hop(
    tmp_path: Path, origin: OriginSimulator
) -> None:
    rig = rig_of(tmp_path, allowing("127.0.0.1", "localhost"))

    def narrow(_: object) -> None:
        rig.egress = allowing("127.0.0.1")

    rig.report.on_ledger = narrow  # the first hop's row
    url = origin.put("/here", always=Fault(redirect=origin.url("/m", host="localhost")))
    assert code_of(rig, url) is Code.EGRESS_DENIED
    assert origin.to("/m") == []


# ---- this machine, however it is written ------------------------------------------------------


@pytest.mark.parametrize("host", INSIDE)
def test_this_machine_is_refused_however_it_is_written(tmp_path: Path, origin: OriginSimulator, host: str) -> None:
    rig = rig_of(tmp_path, PUBLIC_HTTP)
    assert code_of(rig, origin.url("/m", host=host)) in (Code.EGRESS_DENIED, Code.HTTP, Code.CONNECT)
    assert origin.connections == 0
    assert all(row.decision == "deny" or row.reason_code == "connect" for row in rig.report.rows)


@pytest.mark.parametrize("host", INSIDE)
def test_no_redirect_leads_to_this_machine(tmp_path: Path, origin: OriginSimulator, host: str) -> None:
    with OriginSimulator() as hub:
        at = hub.url("")
        rig = rig_of(tmp_path, PUBLIC_HTTP, origins=SourceOrigins(at, lambda: "hf_s3cret", exempt=host_port(at)))
        hub.put(HF_PATH, always=Fault(redirect=on_the_wire(origin.url("/m", host=host))))
        with pytest.raises(FetchError):
            rig.fetch(HF_FILE, DIGEST, len(DATA))
    assert origin.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:1::1",
        "fe80::1%1",
    ],
)
def test_a_name_is_refused_for_where_it_leads(tmp_path: Path, origin: OriginSimulator, address: str) -> None:
    rig = rig_of(tmp_path, PUBLIC_HTTP, "93.184.215.14", address)
    assert code_of(rig, origin.url("/m", host="models.example")) is Code.EGRESS_DENIED
    assert origin.connections == 0


def test_an_address_in_another_spelling_is_not_the_one_that_is_allowed(tmp_path: Path, origin: OriginSimulator) -> None:
    rig = rig_of(tmp_path, allowing(f"127.0.0.1:{origin.port}"))
    for host in ("127.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"):
        assert code_of(rig, origin.url("/m", host=host)) is Code.EGRESS_DENIED
    assert origin.connections == 0
    assert code_of(rig, origin.url("/m")) is None


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["cdn.hf.co", "CDN.HF.Co", "cdn.hf.co.", "a.b.hf.co"])
def test_a_star_lets_subdomains_pass(tmp_path: Path, origin: OriginSimulator, host: str) -> None:
    rig = rig_of(tmp_path, allowing(f"*.HF.co:{origin.port}"), "127.0.0.1")
    assert code_of(rig, origin.url("/m", host=host)) is None


@pytest.mark.parametrize("host", ["hf.co", "evilhf.co", "cdn.hf.co.evil.example", "hf.co.", "x-hf.co", "cdnhf.co"])
def test_a_star_lets_nothing_else_pass(tmp_path: Path, origin: OriginSimulator, host: str) -> None:
    rig = rig_of(tmp_path, allowing("*.hf.co"), "127.0.0.1")
    assert code_of(rig, origin.url("/m", host=host)) is Code.EGRESS_DENIED
    assert origin.connections == 0


def test_another_port_is_another_place(tmp_path: Path, origin: OriginSimulator) -> None:
    with OriginSimulator() as other:
        origin.put("/away", always=Fault(redirect=other.put("/m", DATA)))
        rig = rig_of(tmp_path, allowing(f"127.0.0.1:{origin.port}"))
        assert code_of(rig, origin.url("/away")) is Code.EGRESS_DENIED
        assert other.connections == 0


@pytest.mark.parametrize(
    "authority",
    [
        "allowed.example@evil.example:{port}",
        "allowed.example:{port}@evil.example:{port}",
        "me:allowed.example@evil.example:{port}",
        "evil.example:{port}\\@allowed.example",
        "allowed.example\\@evil.example:{port}",
        "evil.example:{port}#@allowed.example",
        "evil.example:{port}?@allowed.example",
        "evil.example:{port}/@allowed.example",
        "allowed.example%40evil.example:{port}",
        "allowed.example%2f@evil.example:{port}",
        "allowed.example%00.evil.example:{port}",
        "allowed.example;@evil.example:{port}",
    ],
)
def test_no_trick_with_a_user_name_reaches_another_host(
    tmp_path: Path, origin: OriginSimulator, authority: str
) -> None:
    url = f"http://{authority.format(port=origin.port)}/m"
    rig = rig_of(tmp_path, allowing("allowed.example"), "127.0.0.1")
    assert code_of(rig, url) is not None
    origin.put("/away", always=Fault(redirect=on_the_wire(url)))
    assert code_of(rig, origin.url("/away", host="allowed.example")) is not None
    assert {seen.headers["host"] for seen in origin.requests} == {f"allowed.example:{origin.port}"}
    assert [seen.path for seen in origin.requests] == ["/away"]


def test_a_name_in_another_alphabet_is_compared_as_dns_knows_it(tmp_path: Path, origin: OriginSimulator) -> None:
    rig = rig_of(tmp_path, allowing("xn--bcher-kva.example"), "127.0.0.1")
    assert code_of(rig, origin.url("/m", host="b\u00fccher.example")) is None
    assert origin.requests[0].headers["host"] == f"xn--bcher-kva.example:{origin.port}"
    assert code_of(rig, origin.url("/m", host="bu\u0308cher.example")) is not None  # the same to the eye
    assert code_of(rig, origin.url("/m", host="bucher.example")) is Code.EGRESS_DENIED


# ---- time ---------------------------------------------------------------------------------------


def test_every_connection_is_decided_anew(tmp_path: Path, origin: OriginSimulator) -> None:
    """The address that was good for the first connection is not used again for the second."""
    answers: Iterator[tuple[str, ...]] = iter([("127.0.0.1",), ()])
    rig = Rig(tmp_path, session=Session(SystemClock(), resolve=lambda host, port: next(answers)))
    origin.put("/m", DATA, script=[Fault(cut_after_bytes=100)])
    assert code_of(rig, origin.url("/m", host="models.example")) is Code.EGRESS_DENIED
    assert len(origin.requests) == 1
    assert [(row.decision, row.ip) for row in rig.report.rows] == [("allow", "127.0.0.1"), ("deny", None)]


def test_a_name_that_turns_private_between_two_hops_is_refused(tmp_path: Path, origin: OriginSimulator) -> None:
    at = origin.url("")
    asked: list[str] = []

    def resolve(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.1",)

    origins = SourceOrigins(at, exempt=host_port(at))
    session = Session(SystemClock(), resolve=resolve)
    rig = Rig(tmp_path, egress=PUBLIC_HTTP, retries=0, origins=origins, session=session)
    origin.put(HF_PATH, always=Fault(redirect=origin.url("/m", host="models.example")))
    with pytest.raises(FetchError) as caught:
        rig.fetch(HF_FILE, DIGEST, len(DATA))
    assert caught.value.code is Code.EGRESS_DENIED
    assert asked == ["127.0.0.1", "models.example"]
    assert [row.decision for row in rig.report.rows] == ["allow", "deny"]


# ---- what goes along ----------------------------------------------------------------------------


def test_a_token_that_was_dropped_does_not_come_back(tmp_path: Path, origin: OriginSimulator) -> None:
    with OriginSimulator() as cdn:
        origin.put(HF_PATH, always=Fault(redirect=cdn.url("/on")))
        cdn.put("/on", always=Fault(redirect=origin.url("/m")))
        rig = rig_of(tmp_path, LOOPBACK, origins=SourceOrigins(origin.url(""), lambda: "hf_s3cret"))
        rig.fetch(HF_FILE, DIGEST, len(DATA))
        assert [seen.headers.get("authorization") for seen in origin.requests] == ["Bearer hf_s3cret", None]
        assert "authorization" not in cdn.requests[0].headers


def test_the_same_place_under_another_name_gets_no_token(tmp_path: Path, origin: OriginSimulator) -> None:
    origin.put(HF_PATH, always=Fault(redirect=origin.url("/m", host="localhost")))
    rig = rig_of(tmp_path, LOOPBACK, origins=SourceOrigins(origin.url(""), lambda: "hf_s3cret"))
    rig.fetch(HF_FILE, DIGEST, len(DATA))
    assert [seen.headers.get("authorization") for seen in origin.requests] == ["Bearer hf_s3cret", None]


def test_the_operators_endpoint_is_exempt_for_its_own_sources_alone(tmp_path: Path, origin: OriginSimulator) -> None:
    at = origin.url("")
    rig = rig_of(tmp_path, EgressPolicy(), origins=SourceOrigins(at, exempt=host_port(at)))
    assert code_of(rig, origin.url("/m")) is Code.EGRESS_DENIED
    assert origin.connections == 0


def test_passwords_of_netrc_are_not_used(
    tmp_path: Path, origin: OriginSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert code_of(rig_of(tmp_path, LOOPBACK), origin.url("/m")) is None
    assert "authorization" not in origin.requests[0].headers
