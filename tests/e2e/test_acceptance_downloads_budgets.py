"""What downloads may use up, from the manifest to the origin: time, size, quota and the hours of the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.machine import LOOPBACK, Machine, sha256, weights
from tests.e2e.serving import serving
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
CONTENT = Pattern(16 * MIB)
SLOW = Fault(bytes_per_s=MIB)
TIGHT = {"soft": "1s", "degrade_at": "50%", "hard": "3s"}


def told(machine: Machine, owner: str) -> list[tuple[str, str | None]]:
    """(status, code) of everything that was reported of a model's download."""
    rows = [e["payload"] for e in machine.events() if e["topic"] == "models.download.progress"]
    return [(row["status"], row.get("code")) for row in rows if row["id"] == f"models/{owner}"]


def only_job(machine: Machine) -> dict[str, Any]:
    [job] = machine.listed("jobs")
    return job


# ---- time ---------------------------------------------------------------------------------------


def test_a_slow_download_is_called_degraded_once_and_given_up_until_it_may_take_longer(
    machine: Machine, origin: OriginSimulator
) -> None:
    models = {name: weights(origin.put("/m", CONTENT, always=SLOW), CONTENT) for name in "ab"}
    machine.declare(models=models, egress=LOOPBACK, budgets=TIGHT)
    with serving(machine) as node:
        node.until(
            lambda: [(job["state"], job["code"]) for job in machine.listed("jobs")] == [("error", "hard-budget")]
        )
        kept = machine.part(CONTENT).stat().st_size
        assert kept >= MIB
        for owner in "ab":
            found = told(machine, owner)
            assert [each for each in found if each[0] in ("degraded", "error")] == [
                ("degraded", "soft-budget"),
                ("error", "hard-budget"),
            ]
            node.until(lambda owner=owner: node.reason(f"models/{owner}", "FetchFailed") == "HardBudget")
            message = node.condition(f"models/{owner}", "FetchFailed")["message"]
            assert "3s" in message
            assert "raise budgets.hard" in message
        asked = len(origin.requests)

        origin.put("/m", CONTENT)
        machine.declare(models=models, egress=LOOPBACK, budgets={**TIGHT, "hard": "10m"})
        node.until_ready("models/a", "models/b")
        assert [seen.range for seen in origin.requests[asked:] if seen.method == "GET"] == [f"bytes={kept}-"]
        assert machine.listed("jobs") == []


# ---- size and quota -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Fault(), Fault(refuse_head=True), Fault(refuse_head=True, framing="chunked"), Fault(framing="close")],
    ids=["told-by-head", "told-by-get", "chunked", "never-told"],
)
def test_an_undeclared_size_above_the_cap_is_refused_as_soon_as_it_shows(
    machine: Machine, origin: OriginSimulator, fault: Fault
) -> None:
    url = origin.put("/m", CONTENT, always=fault)
    machine.declare(models={"m": weights(url, CONTENT)}, egress=LOOPBACK, budgets={"max_size": "1MiB"})
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "size-limit")])
    failed = ran.condition("models/m", "FetchFailed")
    assert failed is not None
    assert "raise budgets.max_size" in failed["message"]
    assert list((machine.store / "tmp").iterdir()) == list((machine.store / "by-hash").iterdir()) == []
    assert origin.body_bytes < CONTENT.size_bytes / 2

    machine.declare(models={"m": weights(url, CONTENT)}, egress=LOOPBACK, budgets={"max_size": "16MiB"})
    assert machine.converge().exit_code == 0


def test_an_undeclared_size_beyond_the_quota_waits_and_says_what_is_left(
    machine: Machine, origin: OriginSimulator
) -> None:
    other = Pattern(CONTENT.size_bytes, seed=2)
    urls = {"a": origin.put("/a", CONTENT), "b": origin.put("/b", other)}
    models = {name: weights(urls[name], content) for name, content in (("a", CONTENT), ("b", other))}
    machine.declare(models={"a": models["a"]}, egress=LOOPBACK, budgets={"quota": "24MiB"})
    assert machine.converge().exit_code == 0
    machine.declare(models=models, egress=LOOPBACK, budgets={"quota": "24MiB"})
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "quota-exceeded")])
    assert only_job(machine)["state"] == "waiting"
    assert "needs 16.8 MB, but only 8.4 MB of the quota of 25.2 MB are left" in only_job(machine)["message"]
    assert not machine.has_part(other)
    assert origin.body_bytes < 1.5 * CONTENT.size_bytes
    machine.declare(models=models, egress=LOOPBACK, budgets={"quota": "32MiB"})
    assert machine.converge().exit_code == 0
    assert sha256(machine.blob(other)) == other.sha256


def test_a_size_that_is_never_told_is_held_to_the_quota_as_it_comes(machine: Machine, origin: OriginSimulator) -> None:
    url = origin.put("/m", CONTENT, always=Fault(framing="chunked"))
    machine.declare(models={"m": weights(url, CONTENT)}, egress=LOOPBACK, budgets={"quota": "4MiB"})
    ran = machine.converge()
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "quota-exceeded")])
    assert machine.part(CONTENT).stat().st_size <= 5 * 2**20
    machine.declare(models={"m": weights(url, CONTENT)}, egress=LOOPBACK, budgets={"quota": "24MiB"})
    assert machine.converge().exit_code == 0
    assert sha256(machine.blob(CONTENT)) == CONTENT.sha256


# ---- hours --------------------------------------------------------------------------------------


def window(begins: datetime) -> dict[str, object]:
    """A schedule with one window, of an hour, that begins then."""
    times = f"{begins:%H:%M}-{begins + timedelta(hours=1):%H:%M}"
    return {"timezone": "UTC", "downloads": [{"window": times}]}


def test_a_window_that_closes_stops_what_runs_and_says_when_it_goes_on(
    machine: Machine, origin: OriginSimulator
) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    opens = now + timedelta(hours=3)
    models = {"m": weights(origin.put("/m", CONTENT, always=SLOW), CONTENT)}
    machine.declare(models=models, egress=LOOPBACK, schedule=window(now - timedelta(minutes=30)))
    with serving(machine) as node:
        node.until(lambda: machine.has_part(CONTENT))
        machine.declare(models=models, egress=LOOPBACK, schedule=window(opens))
        node.until(lambda: only_job(machine)["state"] == "waiting")
        node.until(lambda: node.reason("models/m") == "OutsideWindow")
        for at in (only_job(machine)["next_attempt_at"], node.condition("models/m")["next_attempt_at"]):
            assert datetime.fromisoformat(at) == opens
        kept, asked = machine.part(CONTENT).stat().st_size, len(origin.requests)
        assert node.end()[0] == 0
    ran = machine.converge()
    assert (ran.exit_code, [status for status, _ in ran.results("Fetch")]) == (5, ["waiting"])
    assert (machine.part(CONTENT).stat().st_size, len(origin.requests)) == (kept, asked)

    origin.put("/m", CONTENT)
    machine.declare(models=models, egress=LOOPBACK)
    assert machine.converge().exit_code == 0
    assert [seen.range for seen in origin.requests[asked:] if seen.method == "GET"] == [f"bytes={kept}-"]


@pytest.mark.parametrize("wait", ["1", "3600"])
def test_a_wait_that_the_origin_asked_for_is_told(machine: Machine, origin: OriginSimulator, wait: str) -> None:
    url = origin.put("/m", CONTENT, always=Fault(status=429, headers=(("Retry-After", wait),)))
    machine.declare(models={"m": weights(url, CONTENT)}, egress=LOOPBACK, defaults={"retries": 0})
    machine.converge()
    told = {"1": "1s", "3600": "1h"}[wait]
    assert only_job(machine)["message"].endswith(f"answered HTTP 429, and asked to wait {told}")


def test_a_wrong_size_names_all_that_may_have_declared_it(machine: Machine, origin: OriginSimulator) -> None:
    right = weights(origin.put("/m", CONTENT), CONTENT)
    machine.declare(models={"a": right, "b": {**right, "bytes": 5}}, egress=LOOPBACK)
    assert machine.converge().exit_code == 1
    assert "the `bytes` that models/a or models/b declares" in only_job(machine)["message"]


def test_room_for_a_size_that_nobody_knows_is_told_as_the_next_step(machine: Machine, origin: OriginSimulator) -> None:
    url = origin.put("/m", CONTENT, always=Fault(framing="chunked", refuse_head=True))
    machine.declare(models={"m": weights(url, CONTENT)}, egress=LOOPBACK, budgets={"quota": "4MiB"})
    assert machine.converge().exit_code == 1
    assert "no size is known, so this is only the next step" in only_job(machine)["message"]
