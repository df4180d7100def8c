"""The state API over real sockets: snapshots, conditions of requests, long polls, problems, start and stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from reconciler.clock import SystemClock
from reconciler.core.errors import StalledError
from reconciler.core.observed import StoreStatus
from reconciler.core.transfers import Progress
from reconciler.publish.read_models import READ_MODELS
from reconciler.publish.service import ApiConfig, StateApi
from reconciler.registry.sqlite import SqliteRegistry
from tests.builders import observed
from tests.e2e.state_rig import Answer, Follower, Node, documents, get, node, status_of
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.work import MadeUpWork
from tests.patience import until

pytestmark = pytest.mark.e2e

NAMES = tuple(model.name for model in READ_MODELS)


@pytest.fixture
def running() -> Iterator[Node]:
    with node() as each:
        yield each


def problem(answer: Answer) -> tuple[int, str]:
    """Status and reason of a problem, whose form is checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == "about:blank"
    assert document["status"] == answer.status
    assert document["title"] == http.client.responses[answer.status]
    assert document["detail"]
    return answer.status, document["reason"]


# ---- snapshots ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_read_model_is_a_document_of_items_by_id(running: Node, name: str) -> None:
    answer = get(running.base, f"/state/{name}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not any(name.startswith("access-control") for name in answer.headers)
    document = answer.json()
    assert list(document) == ["rev", "items"]
    assert isinstance(document["rev"], int)
    assert all(isinstance(item, dict) for item in document["items"].values())


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_has_it_is_told_so(running: Node, name: str) -> None:
    first = get(running.base, f"/state/{name}")
    again = get(running.base, f"/state/{name}", {"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = get(running.base, f"/state/{name}", {"If-None-Match": '"other"'})
    assert (other.status, other.body) == (200, first.body)


def test_a_change_changes_the_tag(running: Node) -> None:
    first = get(running.base, "/state/models")
    running.shown(status_of(("a", "b:8b", "d"), ("c",)))
    second = get(running.base, "/state/models", {"If-None-Match": first.headers["etag"]})
    assert second.status == 200
    assert second.headers["etag"] != first.headers["etag"]
    assert "d" in second.json()["items"]


def test_an_item_is_what_the_document_holds_under_its_id(running: Node) -> None:
    items = get(running.base, "/state/models").json()["items"]
    for path in ("/state/models/b:8b", "/state/models/b%3A8b"):
        answer = get(running.base, path)
        assert answer.json() == items["b:8b"]
        assert get(running.base, path, {"If-None-Match": answer.headers["etag"]}).status == 304


@pytest.mark.parametrize("name", NAMES)
def test_every_item_of_every_document_can_be_had_alone(running: Node, name: str) -> None:
    for key, item in get(running.base, f"/state/{name}").json()["items"].items():
        assert get(running.base, f"/state/{name}/{key}").json() == item


def test_an_item_keeps_its_tag_while_others_change(running: Node) -> None:
    tag = get(running.base, "/state/models/a").headers["etag"]
    running.shown(status_of(("a", "b:8b", "d"), ("c",)))
    assert get(running.base, "/state/models/a", {"If-None-Match": tag}).status == 304


def test_metadata_is_what_the_record_says(running: Node) -> None:
    answer = get(running.base, "/state/models/b:8b/metadata")
    assert answer.status == 200
    assert answer.json()["id"] == "b:8b"
    assert get(running.base, "/state/models/b:8b/metadata", {"If-None-Match": answer.headers["etag"]}).status == 304
    assert problem(get(running.base, "/state/models/c/metadata")) == (404, "NoSuchItem")


def test_head_has_the_headers_and_no_body(running: Node) -> None:
    for path in ("/state/models", "/state/models/a", "/metrics", "/openapi.json", "/healthz"):
        whole = get(running.base, path)
        head = get(running.base, path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert head.headers.get("etag") == whole.headers.get("etag")
    assert get(running.base, "/events", method="HEAD").headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("date", ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 2100 23:59:59 GMT", "yesterday"])
def test_the_entity_tag_alone_says_whether_a_copy_is_current(running: Node, date: str) -> None:
    first = get(running.base, "/state/models")
    assert "last-modified" not in first.headers
    assert get(running.base, "/state/models", {"If-Modified-Since": date}).status == 200
    tagged = {"If-Modified-Since": date, "If-None-Match": '"other"'}
    assert get(running.base, "/state/models", tagged).status == 200
    tagged["If-None-Match"] = first.headers["etag"]
    assert get(running.base, "/state/models", tagged).status == 304


@pytest.mark.parametrize("wanted", ["bytes=0-1", "bytes=-5", "bytes=99999999-", "bytes=20-10", "lines=1-2", "bytes"])
def test_a_document_comes_whole_whatever_range_is_wanted(running: Node, wanted: str) -> None:
    whole = get(running.base, "/state/models")
    answer = get(running.base, "/state/models", {"Range": wanted})
    assert (answer.status, answer.body) == (200, whole.body)
    assert {"accept-ranges", "content-range"}.isdisjoint(answer.headers)


# ---- long polls --------------------------------------------------------------------------------


class Poll:
    """A long poll that another thread waits for."""

    def __init__(self, base: str, path: str, headers: dict[str, str] | None = None) -> None:
        self.answer: Answer | None = None
        self.took_s = 0.0
        self._thread = threading.Thread(target=self._ask, args=(base, path, headers))
        self._thread.start()

    def _ask(self, base: str, path: str, headers: dict[str, str] | None) -> None:
        began_s = time.monotonic()
        self.answer = get(base, path, headers)
        self.took_s = time.monotonic() - began_s

    def wait(self) -> Answer:
        self._thread.join(20)
        assert self.answer is not None
        return self.answer


def test_a_long_poll_ends_with_the_next_change(running: Node) -> None:
    rev = get(running.base, "/state/models").json()["rev"]
    poll = Poll(running.base, f"/state/models?wait=60s&since={rev}")
    time.sleep(0.3)
    assert poll.answer is None
    running.publish(status_of(("a", "b:8b", "d"), ("c",)))
    answer = poll.wait()
    assert answer.status == 200
    assert answer.json()["rev"] != rev
    assert "d" in answer.json()["items"]


def test_a_long_poll_does_not_end_when_another_document_changes(running: Node) -> None:
    rev = get(running.base, "/state/prune_history").json()["rev"]
    poll = Poll(running.base, f"/state/prune_history?wait=2s&since={rev}")
    running.shown(status_of(("a", "b:8b", "d"), ("c",)))
    assert poll.wait().status == 304
    assert poll.took_s >= 1.9


def test_a_long_poll_that_sees_nothing_ends_with_304(running: Node) -> None:
    document = get(running.base, "/state/models")
    tag = document.headers["etag"]
    poll = Poll(running.base, f"/state/models?wait=0.5s&since={document.json()['rev']}")
    answer = poll.wait()
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
    assert poll.took_s >= 0.5
    assert Poll(running.base, "/state/models?wait=0.2s", {"If-None-Match": tag}).wait().status == 304


def test_a_client_with_another_revision_does_not_wait(running: Node) -> None:
    for since in (0, 10**6):
        assert get(running.base, f"/state/models?wait=60s&since={since}").status == 200
    assert get(running.base, "/state/models?wait=60s", {"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "wait=soon&since=1", "wait=-1s&since=1", "wait=301s&since=1", "wait=1d&since=1", "wait=&since=1", "wait=30s",
        "since=-1", "since=x", "since=1.5", "wiat=30s", "token=secret", "wait=nan&since=1", "since=",
    ],
)  # fmt: skip
def test_nonsense_is_a_problem_and_not_ignored(running: Node, query: str) -> None:
    assert problem(get(running.base, f"/state/models?{query}")) == (400, "BadParameter")


# ---- problems ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/state", "/state/", "/state/nothing", "/state/models/", "/state/models/zzz", "/docs", "/events/x"]
)
def test_what_does_not_exist_is_a_problem(running: Node, path: str) -> None:
    status, reason = problem(get(running.base, path))
    assert status == 404
    assert reason in {"NotFound", "NoSuchItem"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(running: Node, method: str) -> None:
    answer = get(running.base, "/state/models", method=method)
    assert problem(answer) == (405, "ReadOnly")
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_rebound_name_and_a_foreign_page_get_nothing(running: Node) -> None:
    assert problem(get(running.base, "/state/models", {"Host": "evil.example"})) == (403, "HostRefused")
    assert problem(get(running.base, "/healthz", {"Host": "evil.example"})) == (403, "HostRefused")
    assert problem(get(running.base, "/state/models", {"Origin": "http://evil.example"})) == (403, "OriginRefused")
    assert get(running.base, "/state/models", {"Origin": running.base}).status == 200


def test_with_a_token_everything_but_the_probes_wants_it() -> None:
    with Node(ApiConfig(port=0, token="secret")) as closed:
        right = {"Authorization": "Bearer secret"}
        for path in ("/state/models", "/events", "/metrics", "/openapi.json", "/no/such/thing"):
            answer = get(closed.base, path)
            assert problem(answer) == (401, "Unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert get(closed.base, path, {"Authorization": "Bearer wrong"}).body == answer.body
        assert get(closed.base, "/healthz").status == 200
        assert get(closed.base, "/readyz").status == 503
        assert documents(closed.base, right).keys() == set(NAMES)
        assert problem(get(closed.base, "/no/such/thing", right)) == (404, "NotFound")
        with Follower(closed.base, headers=right) as follower:
            follower.until("service.connected")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1;host=localhost;proto=http"},
        {"X-Forwarded-Host": "localhost", "X-Forwarded-Proto": "https"},
    ],
)
def test_what_is_said_of_another_hop_opens_nothing(running: Node, headers: dict[str, str]) -> None:
    with Node(ApiConfig(port=0, token="secret")) as closed:
        assert problem(get(closed.base, "/state/models", headers)) == (401, "Unauthorized")
    assert problem(get(running.base, "/state/models", {**headers, "Host": "evil.example"})) == (403, "HostRefused")


# ---- probes, metrics, description --------------------------------------------------------------


def test_a_node_is_ready_when_the_first_pass_has_ended() -> None:
    with Node() as fresh:
        assert get(fresh.base, "/healthz").json() == {"status": "ok"}
        answer = get(fresh.base, "/readyz")
        assert problem(answer) == (503, "FirstPassPending")
        assert answer.json()["reasons"] == [
            {"reason": "FirstPassPending", "message": "the first pass has not ended yet"}
        ]
        fresh.shown(status_of(("a",)))
        assert get(fresh.base, "/readyz").json() == {"status": "ok"}


def test_a_loop_that_stands_still_is_neither_healthy_nor_ready() -> None:
    clock = FakeClock()
    with node(clock=clock) as stuck:
        clock.advance(900)
        assert get(stuck.base, "/healthz").status == 200
        clock.advance(900)
        assert problem(get(stuck.base, "/healthz")) == (503, "LoopStalled")
        assert problem(get(stuck.base, "/readyz")) == (503, "LoopStalled")
        stuck.publish(status_of(("a",)))
        until(lambda: get(stuck.base, "/healthz").status == 200)


def test_a_node_without_its_store_is_not_ready(running: Node) -> None:
    lost = replace(status_of(("a",)), observed=observed(store=StoreStatus.MISSING))
    running.publish(lost)
    until(lambda: get(running.base, "/readyz").status == 503)
    assert problem(get(running.base, "/readyz")) == (503, "StoreMissing")


def test_a_publisher_that_breaks_makes_the_node_unhealthy_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MadeUpWork):
        def progress(self) -> tuple[Progress, ...]:
            raise RuntimeError("a bug")

    registry = MemoryRegistry(FakeClock())
    api = StateApi(ApiConfig(port=0), registry, Broken(), FakeClock())
    host, port = api.start()
    base = f"http://{host}:{port}"
    until(lambda: get(base, "/healthz").status == 503)
    assert problem(get(base, "/healthz")) == (503, "PublisherStopped")
    assert get(base, "/state/models").status == 200
    assert api.stop(5.0)
    assert "the publisher has stopped" in caplog.text


def test_metrics_are_text_for_prometheus(running: Node) -> None:
    answer = get(running.base, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    with Follower(running.base):
        until(lambda: b"\nreconciler_event_subscribers 1.0\n" in get(running.base, "/metrics").body)
    until(lambda: b"\nreconciler_event_subscribers 0.0\n" in get(running.base, "/metrics").body)
    assert b'reconciler_reconcile_total{result="pending"} 1.0' in answer.body


def test_the_description_names_every_path_and_answer(running: Node) -> None:
    answer = get(running.base, "/openapi.json")
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    wanted = {f"/state/{name}" for name in NAMES} | {f"/state/{name}/{{item_id}}" for name in NAMES}
    wanted |= {"/state/models/{item_id}/metadata", "/events", "/metrics", "/healthz", "/readyz", "/openapi.json"}
    assert set(document["paths"]) == wanted
    for path, operations in document["paths"].items():
        assert list(operations) == ["get"], path
        assert "application/problem+json" in operations["get"]["responses"]["400"]["content"]
        assert "422" not in operations["get"]["responses"]
    events = document["paths"]["/events"]["get"]
    assert list(events["responses"]["200"]["content"]) == ["text/event-stream"]
    assert {(p["name"], p["in"]) for p in events["parameters"]} == {
        ("replay", "query"), ("prefix", "query"), ("after", "query"), ("last-event-id", "header"),
    }  # fmt: skip
    downloads = [document["paths"][f"/state/downloads{end}"]["get"]["responses"]["200"] for end in ("", "/{item_id}")]
    assert [each["content"]["application/json"]["schema"]["$ref"] for each in downloads] == [
        "#/components/schemas/Downloads", "#/components/schemas/Download",
    ]  # fmt: skip
    references = {part.split('"')[0] for part in answer.body.decode().split('"$ref":"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])
    ids = [operations["get"]["operationId"] for operations in document["paths"].values()]
    assert len(ids) == len(set(ids))


def test_answers_are_as_the_description_says(running: Node) -> None:
    schemas = get(running.base, "/openapi.json").json()["components"]["schemas"]

    def check(body: object, name: str) -> None:
        jsonschema.validate(body, {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}})

    for document in documents(running.base).values():
        check(document, "Document")
    check(get(running.base, "/nothing").json(), "Problem")
    check(get(running.base, "/healthz").json(), "Well")


# ---- start and stop ----------------------------------------------------------------------------


def test_an_address_that_is_taken_is_a_clear_error() -> None:
    with Node() as first, pytest.raises(StalledError, match="another program does") as caught:
        Node(replace(first.config, port=first.port)).start()
    assert caught.value.reason == "AddressInUse"


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_a_clear_error(host: str) -> None:
    with pytest.raises(StalledError, match="can't listen") as caught:
        Node(ApiConfig(host, 0, "secret")).start()
    assert caught.value.reason == "CannotListen"


def test_an_open_address_without_a_token_does_not_start() -> None:
    with pytest.raises(StalledError) as caught:
        Node(ApiConfig("0.0.0.0", 0)).start()
    assert caught.value.reason == "ApiTokenMissing"


def test_it_stops_within_a_second_with_streams_polls_and_idle_connections_open(running: Node) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(stalled_reader(running))
        followers = [stack.enter_context(Follower(running.base)) for _ in range(5)]
        stack.enter_context(socket.create_connection((running.host, running.port)))
        rev = get(running.base, "/state/models").json()["rev"]
        poll = Poll(running.base, f"/state/models?wait=60s&since={rev}")
        followers[0].until("service.connected")
        time.sleep(0.3)
        began_s = time.monotonic()
        assert running.stop()
        assert time.monotonic() - began_s < 1.0
        assert poll.wait().status == 304
        for follower in followers:
            while follower.next() is not None:
                pass


def stalled_reader(running: Node) -> socket.socket:
    """A client that asks for events and never reads; the server has more for it than the kernel takes."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect((running.host, running.port))
    stalled.sendall(f"GET /events HTTP/1.1\r\nHost: {running.host}\r\n\r\n".encode())
    present = tuple(f"m{n}" for n in range(400))
    for number in range(8):
        running.shown(status_of(present if number % 2 else ("a",), number=number))
    return stalled


def test_it_can_be_started_again_on_the_same_port(running: Node) -> None:
    port = running.port
    assert running.stop()
    running.start()
    assert running.port == port
    assert get(running.base, "/healthz").status == 200


def test_publish_and_stop_after_the_end_do_nothing(running: Node) -> None:
    assert running.stop()
    running.publish(status_of(("a",)))
    assert running.stop()


def test_documents_have_fresh_revs_after_a_restart(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "registry.sqlite3", SystemClock())
    with node(registry=registry) as restarted:
        before = documents(restarted.base)
        tags = {name: get(restarted.base, f"/state/{name}").headers["etag"] for name in NAMES}
        assert restarted.stop()
        restarted.start()
        restarted.shown(status_of(("a", "b:8b"), ("c",)))
        for name, document in documents(restarted.base).items():
            assert document["rev"] > before[name]["rev"]
            assert get(restarted.base, f"/state/{name}", {"If-None-Match": tags[name]}).status == 200
    registry.close()


def test_json_is_ascii_so_that_any_reader_can_decode_it(running: Node) -> None:
    running.shown(status_of(("modèle", "模型")))
    body = get(running.base, "/state/models").body
    assert body.isascii()
    assert set(json.loads(body)["items"]) >= {"modèle", "模型"}
