"""Redirects, egress, secrets, cancelling, silence and TLS over real sockets."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.core.digest import Digest, digest_of
from reconciler.core.egress import EgressPolicy, HostPort, Posture, Preview, Reason, host_port, parse_host_rule
from reconciler.core.job import Code
from reconciler.core.source import HuggingFaceFile
from reconciler.environment import resolve_secret
from reconciler.net.client import Session, trusted_tls
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.failure import FetchError
from reconciler.transfer.token import Canceled
from tests.e2e.fetch_rig import LOOPBACK, Rig, close_all
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.fixtures.certificate import make_certificate
from tests.ledger import check_ledger_row

pytestmark = pytest.mark.e2e

DATA = os.urandom(200_000)
DIGEST = digest_of(DATA)
SIZE = len(DATA)
HF_FILE = HuggingFaceFile("org/repo", "0" * 40, "m.gguf")
HF_PATH = f"/org/repo/resolve/{'0' * 40}/m.gguf"


@pytest.fixture
def origin() -> Iterator[OriginSimulator]:
    with OriginSimulator() as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def failure(rig: Rig, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        rig.fetch(url, DIGEST, SIZE)
    return caught.value


# ---- redirects -------------------------------------------------------------------------------


def test_a_redirect_is_followed_and_every_hop_is_in_the_ledger(rig: Rig, origin: OriginSimulator) -> None:
    origin.put("/b", DATA)
    url = origin.put("/a", always=Fault(redirect="/b?signature=s3cret", body=b"moved"))
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    rows = [(row.decision, row.reason_code, row.bytes_in, row.port, row.corr_id) for row in rig.report.rows]
    assert rows == [
        ("allow", "models.download", len(b"moved"), origin.port, "corr-1"),
        ("allow", "models.download", SIZE, origin.port, "corr-1"),
    ]


def test_resuming_through_a_redirect_sends_the_range_to_the_last_hop(rig: Rig, origin: OriginSimulator) -> None:
    origin.put("/b", DATA, script=[Fault(cut_after_bytes=1000)])
    rig.fetch(origin.put("/a", always=Fault(redirect="/b")), DIGEST, SIZE)
    assert [seen.range for seen in origin.to("/b")] == [None, "bytes=1000-"]


@pytest.mark.parametrize("target", ["/a", "/b"])
def test_a_redirect_loop_is_refused(rig: Rig, origin: OriginSimulator, target: str) -> None:
    origin.put("/b", always=Fault(redirect="/a"))
    error = failure(rig, origin.put("/a", always=Fault(redirect=target)))
    assert (error.code, error.transient) == (Code.REDIRECT_REFUSED, False)
    assert len(origin.requests) <= 2


def test_an_endless_chain_of_redirects_ends(rig: Rig, origin: OriginSimulator) -> None:
    for number in range(20):
        origin.put(f"/{number}", always=Fault(redirect=f"/{number + 1}"))
    assert failure(rig, origin.url("/0")).code is Code.REDIRECT_REFUSED
    assert len(origin.requests) == 11


@pytest.mark.parametrize(
    "location", ["ftp://x/y", "https://", "//", "file:///etc/passwd", "http://h:99999/", "http://[::1/"]
)
def test_a_redirect_to_no_web_address_is_refused(rig: Rig, origin: OriginSimulator, location: str) -> None:
    error = failure(rig, origin.put("/a", always=Fault(redirect=location)))
    assert error.code is Code.REDIRECT_REFUSED


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:9/x", "http://[::1]:9/", "http://2130706433/"],
)
def test_a_redirect_to_a_private_address_is_refused(tmp_path: Path, origin: OriginSimulator, target: str) -> None:
    rig = hub_rig(tmp_path, origin, EgressPolicy(allow_http=True))
    origin.put(HF_PATH, always=Fault(redirect=target))
    with pytest.raises(FetchError) as caught:
        rig.fetch(HF_FILE, DIGEST, SIZE)
    assert caught.value.code is Code.EGRESS_DENIED
    assert [row.decision for row in rig.report.rows] == ["allow", "deny"]


def test_a_redirect_to_a_host_that_is_not_allowed_is_refused(rig: Rig, origin: OriginSimulator) -> None:
    rig.egress = replace(LOOPBACK, allow=(parse_host_rule("127.0.0.1"),))
    error = failure(rig, origin.put("/a", always=Fault(redirect=origin.url("/b", host="localhost"))))
    assert error.code is Code.EGRESS_DENIED
    assert "egress.allow" in error.message


# ---- egress ----------------------------------------------------------------------------------


def hub_rig(tmp_path: Path, origin: OriginSimulator, egress: EgressPolicy, token: str | None = None) -> Rig:
    url = origin.url("")
    origins = SourceOrigins(url, lambda: token, exempt=host_port(url))
    return Rig(tmp_path, egress=egress, origins=origins)


def test_a_private_address_is_refused_before_any_connection(rig: Rig, origin: OriginSimulator) -> None:
    rig.egress = EgressPolicy(allow_http=True)
    assert failure(rig, origin.put("/m", DATA)).code is Code.EGRESS_DENIED
    assert origin.connections == 0


def test_http_is_refused_unless_allowed(rig: Rig, origin: OriginSimulator) -> None:
    rig.egress = EgressPolicy(allow_private=True)
    assert "allow_http" in failure(rig, origin.put("/m", DATA)).message


def test_the_operators_endpoint_is_exempt(tmp_path: Path, origin: OriginSimulator) -> None:
    rig = hub_rig(tmp_path, origin, EgressPolicy())
    origin.put(HF_PATH, DATA)
    rig.fetch(HF_FILE, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA


def test_a_name_with_one_private_address_is_refused(tmp_path: Path, origin: OriginSimulator) -> None:
    session = Session(SystemClock(), resolve=lambda host, port: ("93.184.215.14", "127.0.0.1"))
    rig = Rig(tmp_path, egress=EgressPolicy(allow_http=True), session=session)
    origin.put("/m", DATA)
    error = failure(rig, origin.url("/m", host="models.example"))
    assert error.code is Code.EGRESS_DENIED
    assert "127.0.0.1" in error.message
    assert origin.connections == 0


def test_a_name_that_changes_its_address_is_connected_to_what_was_checked(
    tmp_path: Path, origin: OriginSimulator
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.1",) if len(asked) == 1 else ("169.254.169.254",)

    rig = Rig(tmp_path, session=Session(SystemClock(), resolve=resolve))
    origin.put("/m", DATA)
    rig.fetch(origin.url("/m", host="models.example"), DIGEST, SIZE)
    assert asked == ["models.example"]
    assert origin.requests[0].headers["host"] == f"models.example:{origin.port}"


def test_a_kept_connection_does_not_outlive_its_rules(tmp_path: Path, origin: OriginSimulator) -> None:
    rig = Rig(tmp_path, session=Session(SystemClock(), resolve=lambda host, port: ("127.0.0.1",)))
    origin.put("/m", DATA)
    origin.put("/n", b"n")
    rig.fetch(origin.url("/m", host="models.example"), DIGEST, SIZE)
    rig.egress = EgressPolicy(allow_http=True)
    with pytest.raises(FetchError) as caught:
        rig.fetch(origin.url("/n", host="models.example"), digest_of(b"n"), 1)
    assert caught.value.code is Code.EGRESS_DENIED
    assert len(origin.requests) == 1


def test_offline_opens_no_socket(tmp_path: Path, origin: OriginSimulator) -> None:
    rig = Rig(tmp_path, session=Session(SystemClock(), offline=True))
    error = failure(rig, origin.put("/m", DATA))
    assert error.code is Code.EGRESS_DENIED
    assert origin.connections == 0
    assert [row.decision for row in rig.report.rows] == ["deny"]


def test_environment_proxies_are_ignored(rig: Rig, origin: OriginSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    rig.session = Session(SystemClock())
    rig.fetch(origin.put("/m", DATA), DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA


# ---- what is said beforehand -----------------------------------------------------------------


def test_a_fetch_says_once_what_the_policy_says_of_its_url(rig: Rig, origin: OriginSimulator) -> None:
    origin.put("/a", always=Fault(redirect="/m"))
    origin.put("/m", DATA, script=[Fault(cut_after_bytes=1000)])
    rig.fetch(origin.url("/a?key=hunter2", host="me:hunter2@127.0.0.1"), DIGEST, SIZE)
    here = HostPort("http", "127.0.0.1", origin.port)
    assert rig.report.of("preview") == [("http", Preview(origin.url("/a"), here, Posture.OFF, None))]
    assert rig.report.heard[0][0] == "preview"


def test_a_refusal_is_known_before_the_request(rig: Rig, origin: OriginSimulator) -> None:
    rig.egress = EgressPolicy()
    failure(rig, origin.url("/m"))
    ((_, said),) = rig.report.of("preview")
    assert isinstance(said, Preview)
    assert said.refusal is not None
    assert said.refusal.reason is Reason.SCHEME


def test_the_operators_endpoint_is_exempt_beforehand_too(tmp_path: Path, origin: OriginSimulator) -> None:
    rig = hub_rig(tmp_path, origin, EgressPolicy())
    origin.put(HF_PATH, DATA)
    rig.fetch(HF_FILE, DIGEST, SIZE)
    ((provider, said),) = rig.report.of("preview")
    assert isinstance(said, Preview)
    assert (provider, said.url, said.refusal) == ("hf", origin.url(HF_PATH), None)


# ---- the ledger ------------------------------------------------------------------------------


def row_of(rig: Rig) -> dict[str, Any]:
    """The only row, as both schemas accept it."""
    (row,) = rig.report.rows
    return check_ledger_row(row)


def test_an_answered_request_is_in_the_ledger(rig: Rig, origin: OriginSimulator) -> None:
    rig.fetch(origin.put("/m", DATA), DIGEST, SIZE)
    found = row_of(rig)
    sent = origin.requests[0]
    assert (found["decision"], found["reason_code"], found["tool_id"]) == ("allow", *["models.download"] * 2)
    assert found["dest"] == {"host": "127.0.0.1", "ip": "127.0.0.1", "port": origin.port, "protocol": "http"}
    assert (found["posture"], found["project_id"], found["corr_id"]) == ("off", "default", "corr-1")
    assert found["bytes_in"] == SIZE
    lines = [f"GET {sent.target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.headers.items()), "", ""]
    assert found["bytes_out"] == len("\r\n".join(lines))


def test_a_row_names_the_project_and_the_address_that_was_connected_to(tmp_path: Path, origin: OriginSimulator) -> None:
    resolved = ("127.0.0.2", "127.0.0.1")  # nobody listens at the first
    session = Session(SystemClock(), resolve=lambda host, port: resolved, project_id="house")
    rig = Rig(tmp_path, session=session)
    origin.put("/m", always=Fault(redirect="/n"))
    origin.put("/n", DATA)
    rig.fetch(origin.url("/m", host="models.example"), DIGEST, SIZE)
    found = [check_ledger_row(row) for row in rig.report.rows]
    assert [(each["dest"]["host"], each["dest"]["ip"]) for each in found] == [("models.example", "127.0.0.1")] * 2
    assert {each["project_id"] for each in found} == {"house"}
    assert origin.connections == 1  # the second request went over the connection that the first one opened
    assert found[0]["bytes_out"] == found[1]["bytes_out"] > 0


@pytest.mark.parametrize(
    ("policy", "posture", "error", "lifted_by"),
    [
        (EgressPolicy(), "public", "allow_http", "set egress.allow_http"),
        (EgressPolicy(allow_http=True), "custom", "private address", "set egress.allow_private"),
        (replace(LOOPBACK, allow=(parse_host_rule("hub.example"),)), "allowlist", "egress.allow", "in egress.allow"),
    ],
)
def test_a_refused_request_is_in_the_ledger_with_the_reason(
    rig: Rig, origin: OriginSimulator, policy: EgressPolicy, posture: str, error: str, lifted_by: str
) -> None:
    rig.egress = policy
    hint = failure(rig, origin.url("/m?token=hunter2", host="me:hunter2@127.0.0.1")).hint
    assert hint is not None
    assert lifted_by in hint
    found = row_of(rig)
    assert (found["decision"], found["reason_code"], found["posture"]) == ("deny", "egress-denied", posture)
    assert error in found["error"]
    assert (found["bytes_in"], found["bytes_out"]) == (0, 0)
    assert "ip" not in found["dest"]
    assert "hunter2" not in repr(found)


def test_a_name_that_leads_inside_is_in_the_ledger_as_denied(tmp_path: Path, origin: OriginSimulator) -> None:
    session = Session(SystemClock(), resolve=lambda host, port: ("127.0.0.1",))
    rig = Rig(tmp_path, egress=EgressPolicy(allow_http=True), session=session)
    error = failure(rig, origin.url("/m", host="models.example"))
    assert error.hint == "if you trust that host, set egress.allow_private in the manifest"
    found = row_of(rig)
    assert (found["decision"], found["reason_code"]) == ("deny", "egress-denied")
    assert "private address 127.0.0.1" in found["error"]
    assert "ip" not in found["dest"]


def test_a_request_that_reached_nobody_is_in_the_ledger(rig: Rig) -> None:
    rig.retries = 0
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening
        failure(rig, f"http://127.0.0.1:{held.getsockname()[1]}/m")
    found = row_of(rig)
    assert (found["decision"], found["reason_code"], found["bytes_out"]) == ("allow", "connect", 0)
    assert "ip" not in found["dest"]
    assert "failed" in found["error"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(drop=True), "connect"),
        (Fault(cut_after_bytes=10), "connect"),
        (Fault(status=404), "not-found"),
        (Fault(redirect="ftp://x/y"), "redirect-refused"),
        (Fault(stall_before_head_s=60), "idle-timeout"),
        (Fault(stall_after_bytes=10), "idle-timeout"),
    ],
)
def test_whatever_goes_wrong_is_in_the_ledger(rig: Rig, origin: OriginSimulator, fault: Fault, reason: str) -> None:
    rig.retries, rig.idle_timeout_s = 0, 0.2
    failure(rig, origin.put("/m", DATA, always=fault))
    found = row_of(rig)
    assert (found["decision"], found["reason_code"]) == ("allow", reason)
    assert found["dest"]["ip"] == "127.0.0.1"
    assert found["bytes_out"] > 0


def test_a_url_with_port_0_is_no_url_that_can_be_asked(rig: Rig, origin: OriginSimulator) -> None:
    assert failure(rig, "http://127.0.0.1:0/m").code is Code.HTTP
    assert failure(rig, origin.put("/m", always=Fault(redirect="http://127.0.0.1:0/"))).code is Code.REDIRECT_REFUSED
    row_of(rig)


# ---- secrets ---------------------------------------------------------------------------------


def test_the_hub_token_goes_to_the_hub_alone(tmp_path: Path, origin: OriginSimulator) -> None:
    with OriginSimulator() as cdn:
        rig = hub_rig(tmp_path, origin, LOOPBACK, "hf_s3cret")
        origin.put("/second", always=Fault(redirect=cdn.put("/file", DATA)))
        origin.put(HF_PATH, always=Fault(redirect="/second"))
        rig.fetch(HF_FILE, DIGEST, SIZE)
        assert [seen.headers.get("authorization") for seen in origin.requests] == ["Bearer hf_s3cret"] * 2
        assert "authorization" not in cdn.requests[0].headers


def test_a_password_in_a_url_is_sent_as_a_header_to_its_host_alone(rig: Rig, origin: OriginSimulator) -> None:
    with OriginSimulator() as other:
        origin.put("/a", always=Fault(redirect=other.put("/m", DATA)))
        rig.fetch(origin.url("/a", host="me:pass%40word@127.0.0.1"), DIGEST, SIZE)
        assert origin.requests[0].headers["authorization"] == "Basic bWU6cGFzc0B3b3Jk"
        assert "authorization" not in other.requests[0].headers


def test_cookies_are_not_kept(rig: Rig, origin: OriginSimulator) -> None:
    origin.put("/a", always=Fault(redirect="/m", headers=(("Set-Cookie", "a=b"),)))
    origin.put("/m", DATA)
    rig.fetch(origin.url("/a"), DIGEST, SIZE)
    assert "cookie" not in origin.requests[1].headers


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404),
        Fault(status=500),
        Fault(drop=True),
        Fault(cut_after_bytes=10),
        Fault(flip_at=1),
        Fault(content_length=7),
        Fault(redirect="http://u:hunter2@169.254.1.1/x?key=hunter2#hunter2"),
        Fault(redirect="ftp://u:hunter2@h/?hunter2"),
        Fault(redirect="http://u:hunter2@[/?hunter2"),
        Fault(headers=(("Bad\x01Header", "hunter2"),)),
    ],
)
def test_no_secret_reaches_a_message_an_event_the_meta_or_a_log(
    rig: Rig, origin: OriginSimulator, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rig.retries = 0
    rig.egress = EgressPolicy(allow_http=True, allow_private=True, allow=(parse_host_rule("127.0.0.1"),))
    origin.put("/m", DATA, always=fault)
    error = failure(rig, origin.url("/m?token=hunter2", host="me:hunter2@127.0.0.1"))
    metas = [path.read_text() for path in rig.folder.rglob("*.meta")]
    chain: list[BaseException | None] = [error, error.__cause__, error.__context__]
    shown = [error.message, error.hint, rig.report.heard, rig.report.rows, metas, caplog.text, *map(repr, chain)]
    assert "hunter2" not in repr(shown)
    assert "hunter2" in origin.requests[0].target  # it was really sent


@pytest.mark.parametrize("token", ["hf_s3cret\nX: y", "hf_s3crèt", "hf_s3cret\x00"])
def test_a_token_that_no_header_can_carry_is_explained_and_not_shown(
    tmp_path: Path, origin: OriginSimulator, token: str
) -> None:
    rig = hub_rig(tmp_path, origin, LOOPBACK, token)
    with pytest.raises(FetchError) as caught:
        rig.fetch(HF_FILE, DIGEST, SIZE)
    assert (caught.value.code, caught.value.transient) == (Code.HTTP, False)
    assert "s3cr" not in caught.value.message
    assert "token" in (caught.value.hint or "")


def test_an_etag_that_no_header_can_carry_is_no_validator(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, etag='"vé"', script=[Fault(cut_after_bytes=1000)])
    rig.fetch(url, DIGEST, SIZE)
    assert origin.requests[1].range is None


def test_a_gated_repository_names_the_token_setting(tmp_path: Path, origin: OriginSimulator) -> None:
    rig = hub_rig(tmp_path, origin, LOOPBACK)
    origin.put(HF_PATH, always=Fault(status=403, headers=(("X-Error-Code", "GatedRepo"),)))
    with pytest.raises(FetchError) as caught:
        rig.fetch(HF_FILE, DIGEST, SIZE)
    assert caught.value.code is Code.GATED
    assert "RECONCILER_HF_TOKEN" in (caught.value.hint or "")


def test_a_token_that_can_not_be_read_is_unauthorized_and_says_what_to_do(
    tmp_path: Path, origin: OriginSimulator
) -> None:
    secret = f"file:{tmp_path}/absent"
    rig = Rig(tmp_path, origins=SourceOrigins(origin.url(""), lambda: resolve_secret(secret)))
    with pytest.raises(FetchError) as caught:
        rig.fetch(HF_FILE, DIGEST, SIZE)
    assert (caught.value.code, caught.value.transient) == (Code.UNAUTHORIZED, False)
    assert secret in caught.value.message
    assert "RECONCILER_HF_TOKEN" in (caught.value.hint or "")
    assert origin.requests == []


# ---- stopping and silence --------------------------------------------------------------------


def cancel_when(rig: Rig, condition: threading.Event) -> threading.Thread:
    def wait_and_cancel() -> None:
        condition.wait(20)
        rig.token.cancel()

    thread = threading.Thread(target=wait_and_cancel)
    thread.start()
    return thread


def test_a_cancel_wakes_a_silent_transfer_and_keeps_the_part(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, always=Fault(stall_after_bytes=100_000))
    arrived = threading.Event()
    rig.report.on_progress = lambda done_bytes: arrived.set() if done_bytes else None
    thread = cancel_when(rig, arrived)
    began = time.monotonic()
    with pytest.raises(Canceled):
        rig.fetch(url, DIGEST, SIZE)
    thread.join()
    assert time.monotonic() - began < 9  # long before the idle timeout of 10 s
    part = rig.part(DIGEST)
    assert part
    assert DATA.startswith(part)
    assert [row.reason_code for row in rig.report.rows] == ["interrupted"]


@pytest.mark.parametrize("fault", [Fault(stall_before_head_s=60), Fault(status=503, headers=(("Retry-After", "9"),))])
def test_a_cancel_ends_waiting_for_a_head_and_for_a_retry(rig: Rig, origin: OriginSimulator, fault: Fault) -> None:
    url = origin.put("/m", DATA, always=fault)
    rig.idle_timeout_s = 0
    timer = threading.Timer(0.3, rig.token.cancel)
    timer.start()
    with pytest.raises(Canceled):
        rig.fetch(url, DIGEST, SIZE)
    assert rig.part(DIGEST) is None


def test_a_cancel_within_the_body_of_a_redirect_is_in_the_ledger(rig: Rig, origin: OriginSimulator) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /m\r\nContent-Length: 50000\r\n\r\n"
    url = origin.put("/a", always=Fault(raw=head, endless=b"x", bytes_per_s=20))
    timer = threading.Timer(0.5, rig.token.cancel)
    timer.start()
    with pytest.raises(Canceled):
        rig.fetch(url, DIGEST, SIZE)
    assert [row.reason_code for row in rig.report.rows] == ["interrupted"]
    assert rig.report.rows[0].bytes_in > 0


def test_a_cancelled_token_asks_nothing(rig: Rig, origin: OriginSimulator) -> None:
    rig.token.cancel()
    with pytest.raises(Canceled):
        rig.fetch(origin.put("/m", DATA), DIGEST, SIZE)
    assert (origin.requests, rig.report.rows) == ([], [])


def test_silence_is_an_idle_timeout_and_the_fetch_goes_on_after_it(rig: Rig, origin: OriginSimulator) -> None:
    rig.idle_timeout_s = 0.3
    url = origin.put("/m", DATA, script=[Fault(stall_after_bytes=100_000)])
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert [row.reason_code for row in rig.report.rows] == ["idle-timeout", "models.download"]
    assert origin.requests[1].range == "bytes=100000-"


def test_a_slow_transfer_outlives_the_idle_timeout(rig: Rig, origin: OriginSimulator) -> None:
    rig.idle_timeout_s = 0.5
    data = DATA[:40_000]
    url = origin.put("/m", data, always=Fault(bytes_per_s=20_000))
    rig.fetch(url, digest_of(data), len(data))
    assert len(origin.requests) == 1


def test_nothing_listens_on_a_dropped_connect(rig: Rig) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening
        rig.retries = 0
        error = failure(rig, f"http://127.0.0.1:{held.getsockname()[1]}/m")
    assert (error.code, error.transient) == (Code.CONNECT, True)


def test_a_name_that_does_not_resolve_is_transient(tmp_path: Path) -> None:
    rig = Rig(tmp_path, retries=0)
    error = failure(rig, "http://no-such-host.invalid/m")
    assert (error.code, error.transient) == (Code.CONNECT, True)
    assert "no-such-host.invalid" in error.message


def test_a_name_falls_back_to_its_second_address(tmp_path: Path, origin: OriginSimulator) -> None:
    session = Session(SystemClock(), resolve=lambda host, port: ("127.0.0.2", "127.0.0.1"))
    rig = Rig(tmp_path, session=session)
    origin.put("/m", DATA)
    rig.fetch(origin.url("/m", host="models.example"), DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA


def test_a_big_file_streams_in_bounded_memory(rig: Rig, origin: OriginSimulator) -> None:
    big = Pattern(64 * 2**20)
    rig.fetch(origin.put("/m", big, script=[Fault(cut_after_bytes=40 * 2**20)]), Digest(big.sha256))
    assert (rig.folder / "store" / "by-hash" / big.sha256).stat().st_size == big.size_bytes
    assert origin.body_bytes == big.size_bytes


# ---- TLS -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def tls_rig(tmp_path: Path, certificate: tuple[str, str], address: str = "127.0.0.1") -> Rig:
    context = ssl.create_default_context(cafile=certificate[0])
    session = Session(SystemClock(), resolve=lambda host, port: (address,), tls=lambda: context)
    return Rig(tmp_path, egress=EgressPolicy(allow_private=True), session=session)


def test_tls_checks_the_name_and_connects_to_the_checked_address(tmp_path: Path, certificate: tuple[str, str]) -> None:
    with OriginSimulator(tls=certificate) as origin:
        rig = tls_rig(tmp_path, certificate)
        origin.put("/m", DATA, script=[Fault(cut_after_bytes=100_000)])
        rig.fetch(origin.url("/m", host="models.example"), DIGEST, SIZE)
        assert rig.blob(DIGEST) == DATA
        assert origin.body_bytes == SIZE
        row = check_ledger_row(rig.report.rows[-1])
        assert row["dest"] == {
            "host": "models.example", "ip": "127.0.0.1", "sni": "models.example",
            "port": origin.port, "protocol": "https",
        }  # fmt: skip


def test_a_certificate_for_another_name_is_refused_without_a_retry(
    tmp_path: Path, certificate: tuple[str, str]
) -> None:
    with OriginSimulator(tls=certificate) as origin:
        rig = tls_rig(tmp_path, certificate)
        origin.put("/m", DATA)
        error = failure(rig, origin.url("/m", host="other.example"))
        assert (error.code, error.transient) == (Code.CONNECT, False)
        assert "certificate" in error.message
        assert origin.requests == []
        row = row_of(rig)
        assert (row["reason_code"], row["dest"]["sni"], row["bytes_out"]) == ("connect", "other.example", 0)


def test_a_cancel_wakes_a_silent_tls_transfer(tmp_path: Path, certificate: tuple[str, str]) -> None:
    with OriginSimulator(tls=certificate) as origin:
        rig = tls_rig(tmp_path, certificate)
        origin.put("/m", DATA, always=Fault(stall_after_bytes=100_000))
        arrived = threading.Event()
        rig.report.on_progress = lambda done_bytes: arrived.set() if done_bytes else None
        thread = cancel_when(rig, arrived)
        with pytest.raises(Canceled):
            rig.fetch(origin.url("/m", host="models.example"), DIGEST, SIZE)
        thread.join()
        part = rig.part(DIGEST)
        assert part
        assert DATA.startswith(part)


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path, certificate: tuple[str, str]) -> None:
    with OriginSimulator(tls=certificate) as origin, OriginSimulator() as plain:
        rig = tls_rig(tmp_path, certificate)
        rig.egress = LOOPBACK
        target = plain.put("/m", DATA)
        error = failure_at(rig, origin, "/a", Fault(redirect=target))
        assert error.code is Code.REDIRECT_REFUSED
        assert plain.requests == []


def failure_at(rig: Rig, origin: OriginSimulator, path: str, fault: Fault) -> FetchError:
    origin.put(path, always=fault)
    return failure(rig, origin.url(path, host="models.example"))


def test_the_addresses_used_here_are_what_the_tests_take_them_for() -> None:
    assert ipaddress.ip_address("93.184.215.14").is_global
    assert not ipaddress.ip_address("169.254.169.254").is_global


# ---- the rest --------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "connections"), [(b"moved", 1), (b"m" * 100_000, 2)])
def test_the_connection_of_a_redirect_is_used_again_unless_its_body_is_long(
    rig: Rig, origin: OriginSimulator, body: bytes, connections: int
) -> None:
    origin.put("/m", DATA)
    rig.fetch(origin.put("/a", always=Fault(redirect="/m", body=body)), DIGEST, SIZE)
    assert origin.connections == connections


@pytest.mark.parametrize("url", ["https://xn--/m", "https://a..b/m", f"https://{'a' * 80}.example/m"])
def test_an_address_that_no_one_can_ask_is_a_failure_and_no_crash(rig: Rig, url: str) -> None:
    rig.retries = 0
    assert failure(rig, url).code in (Code.CONNECT, Code.HTTP)


def test_the_tls_context_is_made_once_and_checks_certificates() -> None:
    context = trusted_tls()
    assert context is trusted_tls()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_whole_set_of_addresses_costs_one_connect_timeout(tmp_path: Path, origin: OriginSimulator) -> None:
    many = tuple(f"127.0.0.{number}" for number in range(2, 40))
    rig = Rig(tmp_path, retries=0, session=Session(SystemClock(), resolve=lambda host, port: many))
    assert failure(rig, origin.url("/m", host="models.example")).code is Code.CONNECT
