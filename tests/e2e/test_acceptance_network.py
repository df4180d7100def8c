"""Downloads over real sockets from origins that misbehave: what the exit code says and what is left behind."""

from __future__ import annotations

import socket

import pytest

from tests.e2e.machine import LOOPBACK, Machine, sha256, weights
from tests.e2e.overlap import Watch
from tests.fakes.origin import RETRY_1, Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
BIG = Pattern(6 * MIB)
HALF = Fault(cut_after_bytes=3 * MIB)


def declare(machine: Machine, *sources: str, content: bytes | Pattern = BIG, **sections: object) -> None:
    model = weights(sources, content)
    machine.declare(models={"m": model}, **{"egress": LOOPBACK, "defaults": {"retries": 1}, **sections})


def is_shown(machine: Machine, content: bytes | Pattern = BIG) -> bool:
    file = next(machine.view("m").glob("*"), None)
    return file is not None and sha256(file) == sha256(content)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_an_origin_that_dies_half_way_is_replaced_by_its_mirror(machine: Machine, origin: OriginSimulator) -> None:
    dying = origin.put("/dying", BIG, script=[HALF], always=Fault(drop=True))
    declare(machine, dying, origin.put("/mirror", BIG))
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (0, [("done", None)])
    assert is_shown(machine)
    assert len(origin.to("/mirror")) == 1


def test_wrong_bytes_are_never_published(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.put("/m", BIG, always=Fault(flip_at=5)))
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "sha256-mismatch")])
    assert list((machine.store / "by-hash").iterdir()) == []
    assert not machine.part(BIG).exists()
    assert not machine.view("m").exists()
    assert len(origin.gets) == 1, "a clean full read that mismatches is not tried again"


def test_wrong_bytes_at_one_source_are_right_at_the_next(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.put("/wrong", BIG, always=Fault(flip_at=5)), origin.put("/right", BIG))
    assert machine.converge().exit_code == 0
    assert is_shown(machine)


def test_a_redirect_to_a_refused_host_is_not_followed(machine: Machine, origin: OriginSimulator) -> None:
    with OriginSimulator() as elsewhere:
        target = elsewhere.put("/m", BIG)
        moved = origin.put("/m", always=Fault(redirect=target))
        declare(machine, moved, egress={**LOOPBACK, "allow": [f"127.0.0.1:{origin.port}"]})
        ran = machine.converge()
        assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "egress-denied")])
        assert (elsewhere.connections, list((machine.store / "by-hash").iterdir())) == (0, [])
        declare(machine, moved)
        assert machine.converge().exit_code == 0
    assert is_shown(machine)


def test_what_an_origin_calls_a_file_names_nothing(machine: Machine, origin: OriginSimulator) -> None:
    called = {
        "plain": 'attachment; filename="other.gguf"',
        "starred": "attachment; filename=\"other.gguf\"; filename*=UTF-8''oth%65r.gguf",
        "climbing": 'attachment; filename="../../outside.gguf"',
        "device": "inline; filename=con",
        "nonsense": ';;filename*=";',
    }
    faults = {name: Fault(headers=(("Content-Disposition", said),)) for name, said in called.items()}
    urls = {name: origin.put(f"/{name}.gguf", name.encode(), always=fault) for name, fault in faults.items()}
    machine.declare(models={n: weights(url, n.encode()) for n, url in urls.items()}, egress=LOOPBACK)
    assert machine.converge().exit_code == 0
    assert {name: [path.name for path in machine.view(name).iterdir()] for name in called} == {
        name: [f"{name}.gguf"] for name in called
    }
    assert {"other.gguf", "outside.gguf", "con", "con_"}.isdisjoint(path.name for path in machine.base.rglob("*"))


def test_a_source_that_egress_refuses_is_blocked_in_the_plan(machine: Machine, origin: OriginSimulator) -> None:
    url = origin.put("/m", BIG)
    for egress in ({}, {"allow_http": True}, {**LOOPBACK, "allow": ["example.com"]}):
        declare(machine, url, egress=egress)
        ran = machine.converge()
        assert (ran.exit_code, ran.results("Fetch")) == (4, [("blocked", "egress-denied")]), egress
    assert machine.preview("--detailed-exitcode").exit_code == 4
    assert origin.connections == 0


def test_a_name_that_resolves_to_a_private_address_is_refused_at_connect_time(
    machine: Machine, origin: OriginSimulator
) -> None:
    origin.put("/m", BIG)
    declare(machine, origin.url("/m", host="localhost"), egress={"allow_http": True})
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "egress-denied")])
    assert origin.connections == 0


def test_a_truncated_download_is_resumed(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.put("/m", BIG, script=[HALF]))
    assert machine.converge().exit_code == 0
    assert is_shown(machine)
    assert [seen.status for seen in origin.gets] == [200, 206]
    assert origin.gets[1].range == f"bytes={3 * MIB}-"
    assert origin.body_bytes == BIG.size_bytes


def test_a_download_that_failed_is_resumed_by_the_next_run(machine: Machine, origin: OriginSimulator) -> None:
    url = origin.put("/m", BIG, script=[HALF], always=Fault(status=500))
    declare(machine, url, defaults={"retries": 0})
    first = machine.converge()
    assert (first.exit_code, first.results("Fetch")) == (1, [("failed", "connect")])
    assert machine.part(BIG).stat().st_size == 3 * MIB
    assert machine.preview().document["actions"][0]["reason"] == "Resume"
    origin.put("/m", BIG)
    assert machine.converge().exit_code == 0
    assert is_shown(machine)
    assert origin.gets[-1].range == f"bytes={3 * MIB}-"


def test_a_changed_upstream_is_fetched_anew_not_spliced(machine: Machine, origin: OriginSimulator) -> None:
    old = Pattern(6 * MIB, seed=9)
    declare(machine, origin.put("/m", old, etag='"old"', script=[HALF], always=Fault(status=500)))
    assert machine.converge().exit_code == 1
    origin.put("/m", BIG, etag='"new"')
    assert machine.converge().exit_code == 0
    assert is_shown(machine)


def test_a_busy_origin_is_waited_for(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.put("/m", b"small", script=[Fault(status=503, headers=RETRY_1)]), content=b"small")
    assert machine.converge().exit_code == 0
    assert is_shown(machine, b"small")


def test_a_long_wait_is_left_to_a_later_run(machine: Machine, origin: OriginSimulator) -> None:
    later = Fault(status=503, headers=(("Retry-After", "3600"),))
    declare(machine, origin.put("/m", b"small", always=later), content=b"small")
    first, second = machine.converge(), machine.converge()
    for ran in (first, second):
        assert (ran.exit_code, ran.results("Fetch")) == (5, [("waiting", "http")])
    assert len(origin.gets) == 1
    ready = second.condition("models/m")
    assert ready is not None
    assert ready["next_attempt_at"] is not None
    job = machine.listed("jobs")[0]
    assert (job["state"], job["server_asked"]) == ("waiting", True)
    assert machine.converge("--wait", "--timeout", "1s").exit_code == 5
    assert len(origin.gets) == 1


def test_a_dry_run_tells_what_an_origin_asked_for_as_the_run_will(machine: Machine, origin: OriginSimulator) -> None:
    busy = Fault(status=429, headers=(("Retry-After", "3600"),))
    declare(machine, origin.put("/m", b"small", always=busy), content=b"small")
    assert machine.preview().document["actions"][0]["waits"] is None
    assert machine.converge().exit_code == 5
    (job,) = machine.listed("jobs")

    preview, shown = machine.preview(), machine.run("--dry-run", machine.manifests).out

    waits = preview.document["actions"][0]["waits"]
    assert (waits["reason"], waits["until"]) == ("RetryAfter", job["next_attempt_at"])
    assert (preview.exit_code, preview.document["summary"]["waiting"]) == (0, 1)
    assert f"; the origin asked to wait until {job['next_attempt_at'][:19]}Z, from" in shown
    assert shown.rstrip().endswith("1 waiting")
    assert len(origin.gets) == 1
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (5, [("waiting", "http")])
    assert ran.document["actions"][0]["waits"] == waits

    mirror = origin.put("/mirror", b"small")
    machine.declare(models={"m": weights([origin.url("/m"), mirror], b"small")}, egress=LOOPBACK)
    assert machine.preview().document["actions"][0]["waits"] is None, "the mirror asked for nothing"
    assert machine.converge().exit_code == 0


@pytest.mark.slow
def test_with_wait_a_run_sleeps_until_the_origin_is_ready(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.put("/m", b"small", script=[_ask_for_seconds(11)]), content=b"small")
    ran = machine.converge("--wait")
    assert (ran.exit_code, ran.results("Fetch")) == (0, [("done", None)])
    assert is_shown(machine, b"small")
    topics = [event for event in machine.events() if event["payload"].get("status") == "waiting"]
    assert len(topics) == 1


def test_a_dead_origin_without_a_mirror_is_a_failure_that_says_so(machine: Machine) -> None:
    declare(machine, f"http://127.0.0.1:{closed_port()}/m", content=b"small")
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "connect")])
    failed = ran.condition("models/m", "FetchFailed")
    assert failed is not None
    assert failed["next_attempt_at"] is not None


def test_a_missing_file_is_an_error_that_is_not_tried_again(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.url("/nowhere"), content=b"small")
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "not-found")])
    assert len(origin.gets) == 1


def test_one_bad_model_does_not_hold_back_the_others(machine: Machine, origin: OriginSimulator) -> None:
    contents = {f"m{n}": f"good {n}".encode() for n in range(4)}
    models = {name: weights(origin.put(f"/{name}", data), data) for name, data in contents.items()}
    models["bad"] = weights(origin.url("/nowhere"), b"bad")
    machine.declare(models=models, slots={"chat": {"model": "m3"}, "sad": {"model": "bad"}}, egress=LOOPBACK)
    ran = machine.converge()
    assert ran.exit_code == 1
    assert all(machine.blob(data).exists() for data in contents.values())
    assert (machine.state / "slots" / "chat").resolve() == machine.view("m3").resolve()
    assert not (machine.state / "slots" / "sad").is_symlink()


def test_two_models_of_the_same_bytes_are_one_transfer(machine: Machine, origin: OriginSimulator) -> None:
    urls = [origin.put(path, BIG) for path in ("/one", "/two")]
    machine.declare(models={f"m{n}": weights(url, BIG) for n, url in enumerate(urls)}, egress=LOOPBACK)
    ran = machine.converge()
    assert (ran.exit_code, ran.ops.count("Fetch")) == (0, 1)
    assert (len(origin.gets), origin.body_bytes) == (1, BIG.size_bytes)
    assert all(sha256(next(machine.view(f"m{n}").iterdir())) == BIG.sha256 for n in range(2))


@pytest.mark.parametrize(
    ("limits", "most_together", "most_per_host"),
    [({"max": 3, "per_host": 3}, 3, 3), ({"max": 4, "per_host": 1}, 2, 1), ({"max": 5, "hard_cap": 1}, 1, 1)],
)
def test_no_more_downloads_run_at_once_than_allowed(
    machine: Machine, limits: dict[str, int], most_together: int, most_per_host: int
) -> None:
    with OriginSimulator() as first, OriginSimulator(host="127.0.0.2") as second:
        slow = Fault(stall_before_head_s=0.3)
        models = {}
        for n in range(6):
            data = f"model {n}".encode()
            models[f"m{n}"] = weights((first, second)[n % 2].put(f"/{n}", data, always=slow), data)
        machine.declare(models=models, egress=LOOPBACK, concurrency=limits)
        with Watch(first, second) as watch:
            assert machine.converge().exit_code == 0
        assert watch.most_together == most_together
        assert watch.most_per_host <= most_per_host


def _ask_for_seconds(seconds: int) -> Fault:
    return Fault(status=503, headers=(("Retry-After", str(seconds)),))
