"""Downloads whose origins or disk fail them: who is asked next, what is kept, and how it ends well by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.crash.world import violations
from tests.e2e.machine import LOOPBACK, Machine, sha256, weights
from tests.e2e.overlap import Watch
from tests.e2e.serving import Serving, serving
from tests.e2e.small_disk import SmallDisk, small_disk
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
BUSY = Fault(status=429, headers=(("Retry-After", "3600"),))
HOUR = timedelta(hours=1)


def told(machine: Machine, content: Pattern) -> list[dict[str, Any]]:
    """What was reported of the content's download, in order."""
    rows = (e["payload"] for e in machine.events() if e["topic"] == "models.download.progress")
    return [row for row in rows if row.get("sha256") == sha256(content)]


# ---- one digest, two models, two sources --------------------------------------------------------


def test_two_models_of_one_digest_are_one_job_that_goes_on_at_the_second_source(machine: Machine) -> None:
    content = Pattern(12 * MIB)
    with OriginSimulator() as dying, OriginSimulator() as mirror:
        first = dying.put("/m", content, script=[Fault(cut_after_bytes=6 * MIB)], always=Fault(drop=True))
        second = mirror.put("/m", content, always=Fault(bytes_per_s=3 * MIB // 2))
        models = {name: weights(url, content, bytes=content.size_bytes) for name, url in (("a", first), ("b", second))}
        machine.declare(models=models, egress=LOOPBACK, defaults={"retries": 1})
        with serving(machine) as service:
            machine.listed("jobs")  # imports what the next look needs
            service.until(lambda: mirror.body_bytes)
            assert [job["digest"] for job in machine.listed("jobs")] == [content.sha256]
            service.until_ready("models/a", "models/b")
        assert dying.body_bytes >= 6 * MIB
        assert dying.body_bytes + mirror.body_bytes < 1.2 * content.size_bytes
        assert [(seen.method, seen.status, seen.range) for seen in mirror.requests] == [
            ("HEAD", 200, None),
            ("GET", 206, f"bytes={6 * MIB}-"),
        ]
    assert machine.listed("jobs") == []
    assert all(sha256(next(machine.view(name).iterdir())) == content.sha256 for name in "ab")
    rows = told(machine, content)
    assert len({row["corr_id"] for row in rows}) == 1
    by_owner = {name: [row for row in rows if row["id"] == f"models/{name}"] for name in "ab"}
    assert [row["status"] for row in by_owner["a"]] == [row["status"] for row in by_owner["b"]]
    assert [row["status"] for row in by_owner["a"]].count("complete") == 1
    assert {row.get("primary") for row in by_owner["a"]} == {None}
    assert {row.get("primary") for row in by_owner["b"]} == {"models/a"}


# ---- a disk that fills --------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", size_mib=96) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("reserve", ["8MiB", "0"], ids=["reserve-reached", "nothing-left"])
def test_a_disk_that_fills_stops_three_downloads_which_finish_once_there_is_room(
    tmp_path: Path, origin: OriginSimulator, disk: SmallDisk, reserve: str
) -> None:
    contents = {f"m{n}": Pattern(20 * MIB, seed=n) for n in range(3)}
    machine = Machine(tmp_path, RECONCILER_STORE_DIR=str(disk.folder / "store"))
    machine.store = disk.folder / "store"
    models = {name: weights(origin.url(f"/{name}"), each, bytes=each.size_bytes) for name, each in contents.items()}
    for name, each in contents.items():
        origin.put(f"/{name}", each, always=Fault(bytes_per_s=4 * MIB))
    machine.declare(models=models, egress=LOOPBACK, budgets={"reserve": reserve}, concurrency={"max": 3})
    with serving(machine) as service:
        service.until(lambda: all(machine.has_part(each, MIB) for each in contents.values()))
        disk.fill()
        service.until(lambda: [job["state"] for job in machine.listed("jobs")] == ["waiting"] * 3)
        assert_all_wait_for_room(service, machine)
        assert list((machine.store / "by-hash").iterdir()) == []
        assert violations(machine.state, {}, machine.store) == []
        kept = {name: machine.part(each).stat().st_size for name, each in contents.items()}
        assert all(size > MIB for size in kept.values())

        for name, each in contents.items():
            origin.put(f"/{name}", each)
        disk.relieve()
        service.until_ready(*(f"models/{name}" for name in contents))
        assert violations(machine.state, {}, machine.store) == []
        assert list((machine.store / "tmp").iterdir()) == []
    assert {name: sha256(machine.blob(each)) for name, each in contents.items()} == {
        name: each.sha256 for name, each in contents.items()
    }
    assert {seen.range for seen in origin.requests if seen.status == 206} >= {f"bytes={n}-" for n in kept.values()}


def assert_all_wait_for_room(service: Serving, machine: Machine) -> None:
    """Rows, events and conditions of all jobs say what is missing, in figures, and when they look again."""
    for job in machine.listed("jobs"):
        assert job["code"] == "disk-insufficient"
        assert job["next_attempt_at"] is not None
    rows = [e["payload"] for e in machine.events() if e["payload"].get("status") == "waiting"]
    assert {row["id"] for row in rows} == {"models/m0", "models/m1", "models/m2"}
    assert {row["code"] for row in rows} == {"disk-insufficient"}
    for name in ("m0", "m1", "m2"):
        service.until(lambda name=name: service.condition(f"models/{name}", "FetchFailed"))
        failed = service.condition(f"models/{name}", "FetchFailed")
        assert failed["reason"] == "DiskInsufficient"
        assert re.search(r"\b[\d.]+ [kM]?B free", failed["message"]), failed["message"]
        assert failed["next_attempt_at"] is not None


# ---- hosts that ask for peace -------------------------------------------------------------------


def test_two_hosts_that_ask_for_an_hour_leave_all_permits_to_the_third(machine: Machine) -> None:
    with (
        OriginSimulator() as a,
        OriginSimulator(host="127.0.0.2") as b,
        OriginSimulator(host="127.0.0.3") as c,
        Watch(c) as watch,
    ):
        models = {}
        contents = {}
        for n in range(8):
            for name, origin in (("a", a), ("b", b), ("c", c)):
                contents[f"{name}{n}"] = data = f"model {name}{n}".encode()
                fault = Fault(stall_before_head_s=0.4) if origin is c else BUSY
                models[f"{name}{n}"] = weights(origin.put(f"/{n}", data, always=fault), data, bytes=len(data))
        machine.declare(models=models, egress=LOOPBACK, concurrency={"max": 4, "per_host": 4})
        began = datetime.now(UTC)
        ran = machine.converge()
        assert (ran.exit_code, len(a.requests), len(b.requests)) == (5, 8, 8)
        assert watch.most_together == 4
        busy = {sha256(data) for name, data in contents.items() if name[0] != "c"}
        waiting = machine.listed("jobs")
        assert {job["digest"] for job in waiting} == busy
        for job in waiting:
            assert (job["state"], job["code"], job["server_asked"]) == ("waiting", "http", True)
            assert abs(datetime.fromisoformat(job["next_attempt_at"]) - began - HOUR) < timedelta(minutes=2)
        assert all(machine.blob(data).exists() for name, data in contents.items() if name[0] == "c")
        again = machine.converge()
        assert (again.exit_code, len(a.requests), len(b.requests)) == (5, 8, 8)
