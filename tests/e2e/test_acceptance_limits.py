"""Windows, urgency and budgets from the manifest, in a real process over real sockets: what is asked of the origin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.machine import LOOPBACK, Machine, sha256, weights
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
BIG = Pattern(4 * MIB)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALWAYS = {"downloads": [{"window": "00:00-24:00"}]}


def closed() -> dict[str, object]:
    """A schedule whose only window is open three days from now, whatever the hour."""
    day = DAYS[(datetime.now(UTC) + timedelta(days=3)).weekday()]
    return {"timezone": "UTC", "downloads": [{"window": "00:00-24:00", "days": day}]}


def declare(machine: Machine, source: str, **sections: object) -> None:
    models = {"m": weights([source], BIG, bytes=BIG.size_bytes)}
    machine.declare(models=models, **{"egress": LOOPBACK, **sections})


def test_outside_its_windows_a_node_asks_nobody_and_goes_on_from_what_it_has_when_they_open(
    machine: Machine, origin: OriginSimulator
) -> None:
    half = Fault(cut_after_bytes=2 * MIB)
    declare(machine, origin.put("/m", BIG, script=[half], always=Fault(status=500)), defaults={"retries": 0})
    assert machine.converge().exit_code == 1
    assert machine.has_part(BIG)
    asked, url = len(origin.gets), origin.put("/m", BIG)

    declare(machine, url, schedule=closed())
    ran = machine.converge()
    assert (ran.exit_code, [status for status, _ in ran.results("Fetch")]) == (5, ["waiting"])
    condition = ran.condition("models/m")
    assert condition is not None
    assert condition["reason"] == "OutsideWindow"
    assert condition["next_attempt_at"] is not None
    assert [job["state"] for job in machine.listed("jobs")] == ["waiting"]
    assert (len(origin.gets), machine.has_part(BIG)) == (asked, True)
    preview = machine.preview()
    assert (preview.exit_code, preview.document["actions"][0]["waits"]["reason"]) == (0, "OutsideWindow")

    declare(machine, url, schedule=ALWAYS)
    assert machine.converge().exit_code == 0
    assert sha256(next(machine.view("m").glob("*"))) == sha256(BIG)
    assert [seen.status for seen in origin.gets[asked:]] == [206]


def test_a_file_of_this_machine_is_adopted_outside_the_windows(machine: Machine) -> None:
    here = machine.manifests / "here.gguf"
    here.write_bytes(b"here")
    machine.declare(models={"m": weights("file:here.gguf", b"here")}, schedule=closed())
    assert machine.converge().exit_code == 0


def test_the_most_urgent_download_comes_first(machine: Machine, origin: OriginSimulator) -> None:
    urgency = {"a": 0, "b": -1, "c": 7}
    models = {
        name: weights(origin.put(f"/{name}", name.encode()), name.encode(), bytes=1, priority=priority)
        for name, priority in urgency.items()
    }
    machine.declare(models=models, egress=LOOPBACK, concurrency={"max": 1})
    assert machine.converge().exit_code == 0
    assert [seen.path for seen in origin.gets] == ["/c", "/a", "/b"]


@pytest.mark.parametrize(
    ("budgets", "code"), [({"max_size": "3MiB"}, "size-limit"), ({"quota": "3MiB"}, "quota-exceeded")]
)
def test_what_exceeds_a_budget_is_blocked_before_anybody_is_asked(
    machine: Machine, origin: OriginSimulator, budgets: dict[str, object], code: str
) -> None:
    url = origin.put("/m", BIG)
    declare(machine, url, budgets=budgets)
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (4, [("blocked", code)])
    assert origin.connections == 0
    declare(machine, url, budgets={"max_size": "4MiB", "quota": "4MiB"})
    assert machine.converge().exit_code == 0
