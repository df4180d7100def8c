"""`GET /events` over real sockets: the frames, resuming, filters, heartbeats and refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.core.change import ChangeSet
from reconciler.core.event import EventDraft, EventId, Topic
from reconciler.publish.http.config import ApiConfig
from tests.e2e.state_rig import Follower, Node, get, node, running, status_of
from tests.patience import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def alive() -> Iterator[Node]:
    with node() as each:
        yield each


def tell(alive: Node, name: str) -> None:
    """Another process commits a fact."""
    alive.registry.commit(ChangeSet((), (EventDraft(Topic.MODELS_CHANGED, {"op": "written", "id": name}),)))


def test_the_stream_has_the_headers_that_keep_proxies_from_holding_it_back(alive: Node) -> None:
    with Follower(alive.base) as follower:
        assert follower.status == 200
        assert follower.headers["content-type"] == "text/event-stream"
        assert follower.headers["cache-control"] == "no-cache, no-transform"
        assert follower.headers["x-accel-buffering"] == "no"
        assert follower.headers["x-content-type-options"] == "nosniff"
        assert "content-length" not in follower.headers
        greeting = follower.until("service.connected")
        assert follower.fields["retry"] == "1000"
        assert EventId.parse(greeting.id).seq > 0
        assert greeting.data["revs"]["models"] == get(alive.base, "/state/models").json()["rev"]


def test_ids_only_grow_and_patches_fit_each_other(alive: Node) -> None:
    rev = get(alive.base, "/state/models").json()["rev"]
    with Follower(alive.base, "?prefix=state.read.model.patch") as follower:
        follower.until("service.connected")
        last = 0
        for present in (("a",), ("a", "d"), ("a", "d", "e")):
            alive.publish(status_of(present))
            while (sent := follower.until("state.read.model.patch")).data["id"] != "models":
                pass
            assert sent.data["base_rev"] == rev
            rev = sent.data["rev"]
            assert EventId.parse(sent.id).seq == rev > last
            last = rev


def test_a_fact_of_another_process_is_told(alive: Node) -> None:
    with Follower(alive.base, "?prefix=models.changed") as follower:
        follower.until("service.connected")
        tell(alive, "qwen")
        assert follower.until("models.changed").data == {"op": "written", "id": "qwen"}


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_a_client_that_comes_back_gets_what_it_missed(alive: Node, how: str) -> None:
    with Follower(alive.base, "?prefix=models.changed") as follower:
        follower.until("service.connected")
        tell(alive, "first")
        seen = follower.until("models.changed").id
    tell(alive, "second")
    tell(alive, "third")
    query, headers = ("", {"Last-Event-ID": seen}) if how == "header" else (f"&after={seen}", {})
    with Follower(alive.base, f"?prefix=models.changed{query}", headers) as follower:
        sent = [follower.next(), follower.next()]
        assert [each.data["id"] for each in sent if each is not None] == ["second", "third"]


def test_the_header_wins_over_the_parameter_that_stays_in_the_address(alive: Node) -> None:
    with Follower(alive.base, "?prefix=models.changed") as follower:
        old = follower.until("service.connected").id
        tell(alive, "first")
        new = follower.until("models.changed").id
        tell(alive, "second")
        follower.until("models.changed")
    with Follower(alive.base, f"?prefix=models.changed&after={old}", {"Last-Event-ID": new}) as follower:
        assert follower.until("models.changed").data["id"] == "second"


def test_an_id_of_another_database_is_answered_with_resync(alive: Node) -> None:
    with Follower(alive.base, "?after=ffffffff-5") as follower:
        sent = follower.next()
        assert sent is not None
        assert (sent.topic, sent.data["reason"]) == ("resync", "ForeignEpoch")
        assert b"\nreconciler_event_resets_total 1.0\n" in get(alive.base, "/metrics").body


def test_replay_begins_with_the_newest_events(alive: Node) -> None:
    for name in ("first", "second", "third"):
        tell(alive, name)
    until(lambda: replayed(alive) == ["second", "third"])


def replayed(alive: Node) -> list[str]:
    with Follower(alive.base, "?replay=2&prefix=models.changed") as follower:
        follower.until("service.connected")
        follower.socket.settimeout(0.2)
        found: list[str] = []
        try:
            while (sent := follower.next()) is not None:
                found.append(sent.data["id"])
        except TimeoutError:
            pass
        return found


def test_several_prefixes_let_through_what_begins_with_one_of_them(alive: Node) -> None:
    with Follower(alive.base, "?prefix=models.changed&prefix=plan.") as follower:
        follower.until("service.connected")
        alive.publish(status_of(("a",)))
        tell(alive, "qwen")
        topics: set[str] = set()
        while topics != {"models.changed", "plan.changed"}:
            sent = follower.next()
            assert sent is not None
            topics.add(sent.topic)
            assert sent.topic in {"models.changed", "plan.changed"}


def test_running_downloads_are_told(alive: Node) -> None:
    with Follower(alive.base, "?prefix=models.download") as follower:
        follower.until("service.connected")
        alive.work.jobs = (running("c", 12345),)
        sent = follower.until("models.download.progress")
        assert (sent.data["id"], sent.data["downloaded"], sent.data["total"]) == ("models/c", 12345, 10**9)
        alive.work.jobs = ()


@pytest.mark.parametrize(
    "query",
    [
        "after=5", "after=0a1b2c3d", "after=x-1", "after=0A1B2C3D-1", "replay=-1", "replay=1001", "replay=many",
        "prefix=", "prefix=nothing", "prefix=Models", "prefixes=models", "token=secret",
        "&".join(["prefix=models"] * 33),
    ],
)  # fmt: skip
def test_nonsense_is_refused_before_the_stream_begins(alive: Node, query: str) -> None:
    answer = get(alive.base, f"/events?{query}")
    assert (answer.status, answer.json()["reason"]) == (400, "BadParameter")


def test_a_malformed_header_is_refused_and_an_empty_one_is_none(alive: Node) -> None:
    assert get(alive.base, "/events", {"Last-Event-ID": "nonsense"}).status == 400
    with Follower(alive.base, headers={"Last-Event-ID": ""}) as follower:
        follower.until("service.connected")


def test_one_reader_too_many_is_asked_to_come_back_later() -> None:
    with Node(ApiConfig(port=0, max_readers=1)) as small:
        with Follower(small.base) as first:
            first.until("service.connected")
            answer = get(small.base, "/events")
            assert (answer.status, answer.json()["reason"]) == (503, "TooManyReaders")
            assert answer.headers["retry-after"] == "30"
        until(lambda: b"reconciler_event_subscribers 0.0\n" in get(small.base, "/metrics").body)
        with Follower(small.base) as second:
            second.until("service.connected")
