"""What a running `serve` shows and tells of its downloads: permits, the queue, partial downloads, budgets and disk."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.quantity import format_size
from reconciler.writer_lock import WriterLock
from tests.builders import NOW
from tests.e2e.machine import LOOPBACK, Machine, killed, sha256, until_in, weights
from tests.e2e.serving import Serving, serving
from tests.e2e.state_rig import Follower, Sent
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
SLOW = Fault(bytes_per_s=2 * MIB)
BIG, OTHER, THIRD = (Pattern(200 * MIB, seed=seed) for seed in (11, 12, 13))
CONTENTS = {"big": BIG, "other": OTHER, "third": THIRD}
EFFECT_S = 4.0
"""A directive is seen within a second, and the passes that follow take less than one each."""


def declare(machine: Machine, origin: OriginSimulator, *names: str, **sections: object) -> None:
    for name in names:
        origin.put(f"/{name}", CONTENTS[name], always=SLOW)
    models = {name: weights(origin.url(f"/{name}"), CONTENTS[name], bytes=200 * MIB) for name in names}
    machine.declare(models=models, egress=LOOPBACK, **sections)


def downloads(node: Serving) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/state/downloads")["items"]
    return found


def metrics(node: Serving) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/state/models_metrics")["items"]
    return found


def states(node: Serving, *names: str) -> list[str | None]:
    items = downloads(node)
    return [items.get(sha256(CONTENTS[name]), {}).get("state") for name in names]


def progress(follower: Follower, status: str, count: int) -> list[Sent]:
    """The next so many progress events of that status."""
    found: list[Sent] = []
    while len(found) < count:
        sent = follower.until("models.download.progress")
        if sent.data["status"] == status:
            found.append(sent)
    return found


def test_permits_the_queue_and_what_runs_are_shown(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, "big", "other", "third", concurrency={"max": 1, "hard_cap": 4}, defaults={"retries": 5})
    machine.variables["RECONCILER_PREFLIGHT"] = "false"
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and states(node, "big", "other", "third")[0] == "downloading")
        node.until(lambda: metrics(node)["counters"]["queued"] == 2)
        node.until(lambda: downloads(node)[sha256(BIG)]["done_bytes"] > 0)

        shown, counted = downloads(node), metrics(node)
        places = [shown[sha256(content)]["position"] for content in (BIG, OTHER, THIRD)]
        assert places == [None, 1, 2]
        running = shown[sha256(BIG)]
        assert running["inflight"] is True
        assert running["total_bytes"] == 200 * MIB
        assert running["percent"] == int(1000 * running["done_bytes"] / (200 * MIB)) / 10
        assert running["corr_id"]
        assert counted["concurrency"] == {
            "configured_max": 1, "available_permits": 0, "held_permits": 1, "hard_cap": 4, "pending_shrink": None,
        }  # fmt: skip
        assert counted["jobs"][sha256(BIG)]["corr_id"] == running["corr_id"]
        assert counted["inflight"] == {sha256(BIG): {"primary": "models/big", "followers": [], "count": 1}}
        assert (counted["runtime"]["send_retries"], counted["runtime"]["stream_retries"]) == (5, 5)
        assert counted["runtime"]["preflight_enabled"] is False
        assert (counted["counters"]["admitted"], counted["counters"]["started"]) == (1, 1)
        listed = [(row["job"]["state"], row["position"], row["for"]) for row in machine.listed("downloads")]
        assert listed == [("downloading", None, ["models/big"]), ("queued", 1, ["models/other"]),
                          ("queued", 2, ["models/third"])]  # fmt: skip


def test_a_download_that_may_go_on_is_shown_queued_before_it_has_a_permit(
    machine: Machine, origin: OriginSimulator
) -> None:
    declare(machine, origin, "big", "other", concurrency={"max": 1}, schedule={"reconcile": "1h"})

    def counted(node: Serving) -> dict[str, int]:
        return {state: count for state, count in metrics(node)["states"].items() if count}

    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and states(node, "big", "other") == ["downloading", "queued"])
        machine.said("pause", "other")
        node.until(lambda: states(node, "big", "other") == ["downloading", "paused"])
        assert counted(node) == {"downloading": 1, "paused": 1}
        machine.said("resume", "other")
        node.until(lambda: states(node, "big", "other") == ["downloading", "queued"])
        assert counted(node) == {"downloading": 1, "queued": 1}

        machine.said("suspend")
        node.until(lambda: states(node, "big", "other") == ["paused", "paused"])
        assert counted(node) == {"paused": 2}
        machine.said("resume")
        node.until(lambda: states(node, "big", "other") == ["downloading", "queued"])
        assert counted(node) == {"downloading": 1, "queued": 1}


def test_another_limit_holds_at_once_and_is_announced_with_what_runs_above_it(
    machine: Machine, origin: OriginSimulator
) -> None:
    declare(machine, origin, "big", "other", concurrency={"max": 2})
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and states(node, "big", "other") == ["downloading"] * 2)
        with Follower(node.url, "?prefix=models.concurrency.changed") as follower:
            follower.until("service.connected")
            declare(machine, origin, "big", "other", concurrency={"max": 1})
            told = follower.until("models.concurrency.changed").data

        assert told == {
            "configured_max": 1, "available_permits": 0, "held_permits": 1, "hard_cap": 16, "pending_shrink": 1,
            "per_host": 4,
        }  # fmt: skip
        assert states(node, "big", "other") == ["downloading"] * 2, "a smaller limit stops nothing"
        assert metrics(node)["concurrency"]["pending_shrink"] == 1


def test_progress_tells_of_budgets_and_disk_from_the_reload_on(
    machine: Machine, origin: OriginSimulator, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.env"
    settings.write_text("")
    budgets = {"soft": "90m", "hard": "2h", "reserve": "1MiB"}
    declare(machine, origin, "big", budgets=budgets)
    with serving(machine, "--env-file", settings) as node:
        node.until(lambda: node.get("/readyz") and states(node, "big") == ["downloading"])
        with Follower(node.url, "?prefix=models.download.progress") as follower:
            plain = progress(follower, "downloading", 1)[0].data
            settings.write_text("RECONCILER_PROGRESS_BUDGET=1\nRECONCILER_PROGRESS_DISK=1\n")
            node.hang_up()
            told = plain
            while "disk" not in told:
                told = progress(follower, "downloading", 1)[0].data

    assert {"budget", "disk"}.isdisjoint(plain)
    assert (plain["bytes"], plain["total"]) == (plain["downloaded"], 200 * MIB)
    assert 0 <= plain["percent"] < 100
    assert told["corr_id"]
    assert told["corr_id"] == plain["corr_id"]
    budget = told["budget"]
    assert (budget["soft_ms"], budget["hard_ms"], budget["state"]) == (5_400_000, 7_200_000, "ok")
    assert budget["hard_remaining_ms"] == 7_200_000 - budget["elapsed_ms"]
    assert told["disk"]["reserve"] == MIB
    assert told["disk"]["need"] == 200 * MIB - told["downloaded"]


def test_every_word_on_a_download_names_its_job(machine: Machine, origin: OriginSimulator) -> None:
    origin.put("/big", b"once" * 1000)
    machine.declare(
        models={"a": weights(origin.url("/big"), b"once" * 1000), "b": weights(origin.url("/gone"), b"gone")},
        egress=LOOPBACK,
    )
    with serving(machine) as node, Follower(node.url, "?prefix=models.download.progress&replay=100") as follower:
        told: dict[str, list[Any]] = {"models/a": [], "models/b": []}
        while not ({"complete"} & statuses(told["models/a"]) and {"error", "waiting"} & statuses(told["models/b"])):
            payload = follower.until("models.download.progress").data
            told[payload["id"]].append(payload)

    for payloads in told.values():
        assert len({payload["corr_id"] for payload in payloads}) == 1
        assert payloads[0]["corr_id"]


def test_answers_to_heads_are_counted_by_what_came_of_them(machine: Machine, origin: OriginSimulator) -> None:
    answers = {
        "ok": Fault(),
        "too-large": Fault(content_length=5 * MIB),
        "refused-405": Fault(refuse_head=True),
        "refused-501": Fault(status=501),
        "lost": Fault(drop=True),
    }
    models = {
        name: weights(origin.put(f"/{name}", name.encode(), heads=[answer] * 5), name.encode())
        for name, answer in answers.items()
    }
    machine.declare(models=models, egress=LOOPBACK, budgets={"max_size": "1MiB"}, defaults={"retries": 0})
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and "counters" in metrics(node))
        node.until(lambda: (found := metrics(node)["counters"])["completed"] == 4 and found["errors"] == 1)
        counters = metrics(node)["counters"]

    assert (counters["preflight_ok"], counters["preflight_denied"], counters["preflight_skipped"]) == (1, 1, 3)
    assert all(machine.blob(name.encode()).read_bytes() == name.encode() for name in answers if name != "too-large")
    assert origin.to("/too-large") == []


def statuses(payloads: list[Any]) -> set[str]:
    return {payload["status"] for payload in payloads}


def test_patches_are_gathered_for_a_quarter_of_a_second(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, "big")
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and states(node, "big") == ["downloading"])
        moments: list[float] = []
        with Follower(node.url, "?prefix=state.read.model.patch") as follower:
            while len(moments) < 8:
                if follower.until("state.read.model.patch").data["id"] == "downloads":
                    moments.append(time.monotonic())

    assert (moments[-1] - moments[0]) / 7 > 0.2, "the first can have waited to be read, on the whole none came sooner"


def test_the_table_says_how_far_and_how_fast_what_has_no_declared_size(
    machine: Machine, origin: OriginSimulator
) -> None:
    origin.put("/big", BIG, always=SLOW)
    machine.declare(models={"big": weights(origin.url("/big"), BIG)}, egress=LOOPBACK)
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and machine.has_part(BIG, more_than=MIB))
        began = machine.listed("downloads")[0]
        head, row = machine.run("get", "downloads").out.splitlines()

    # Digest, state, place, two sizes with their units, share, rate.
    cells = row.split()
    assert head.split()[:8] == ["DIGEST", "STATE", "QUEUE", "ON", "DISK", "OF", "DONE", "RATE"]
    assert (cells[1], cells[5:7], cells[8]) == ("downloading", ["209.7", "MB"], "%")
    assert 0 <= int(cells[7]) < 100
    assert (began["total_bytes"], cells[10]) == (200 * MIB, "MB/s")
    assert 0.2 * 2 * MIB < float(cells[9]) * 10**6 < 5 * 2 * MIB


def test_the_table_of_requests_names_the_models_that_they_were_for(machine: Machine, origin: OriginSimulator) -> None:
    origin.put("/a", b"once" * 1000)
    origin.put("/b", b"twice" * 1000)
    shared = weights(origin.url("/a"), b"once" * 1000)
    models = {"a": shared, "again": shared, "b": weights(origin.url("/b"), b"twice" * 1000)}
    machine.declare(models=models, egress=LOOPBACK)
    assert machine.converge().exit_code == 0
    head, *rows = machine.run("get", "egress").out.splitlines()

    assert head.split()[-2:] == ["TOOL", "FOR"]
    assert {tuple(row.split()[-2:]) for row in rows} == {
        (f"models.{tool}", name) for tool in ("preflight", "download") for name in ("models/a", "models/b")
    }
    assert {row.split()[2] for row in rows} == {"ok"}


# ---- partial downloads ----------------------------------------------------------------------------


def test_what_is_left_of_a_download_that_nobody_wants_is_listed_and_removed_by_its_digest(
    machine: Machine, origin: OriginSimulator
) -> None:
    declare(machine, origin, "big", "other")
    with serving(machine) as node:
        node.until(lambda: machine.has_part(BIG) and machine.has_part(OTHER))
        declare(machine, origin, "other")
        node.until(lambda: downloads(node).get(sha256(BIG), {"wanted": True})["wanted"] is False)
        node.until(lambda: downloads(node)[sha256(BIG)]["state"] is None)

        left = downloads(node)[sha256(BIG)]
        assert left["part"]["bytes"] == machine.part(BIG).stat().st_size > 0
        assert left["part"]["modified_at"]
        assert left["for"] == []
        (row,) = (row for row in machine.listed("downloads") if row["digest"] == sha256(BIG))
        assert (row["wanted"], row["job"], row["part"]["bytes"]) == (False, None, left["part"]["bytes"])

        ran = machine.run("cancel", sha256(BIG)[:12])
        assert ran.exit_code == 0, ran.err
        assert "which nothing wants" in ran.out
        deadline = time.monotonic() + EFFECT_S
        while machine.part(BIG).exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        node.until(lambda: sha256(BIG) not in downloads(node))
        node.until(lambda: machine.listed("directives") == [])
        assert states(node, "other") == ["downloading"]


def test_without_a_service_what_nothing_wants_is_removed_at_once(machine: Machine, origin: OriginSimulator) -> None:
    origin.put("/small", b"small")
    machine.declare(models={"small": weights(origin.url("/small"), b"small")}, egress=LOOPBACK)
    assert machine.converge().exit_code == 0
    machine.part(BIG).write_bytes(b"no row speaks of it")

    said = machine.run("cancel", sha256(BIG)).out

    assert said == f"removing the partial download of {sha256(BIG)}, which nothing wants; its 19 B are removed now\n"
    assert not machine.part(BIG).exists()
    assert machine.converge().exit_code == 0
    assert machine.listed("downloads") == []
    assert machine.listed("directives") == []


def test_what_a_failed_download_has_left_is_removed_with_it(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, "big")
    with serving(machine) as node:
        node.until(lambda: machine.has_part(BIG))
        node.end()
    origin.put("/big", b"", always=Fault(status=404))
    assert machine.converge().exit_code == 1
    size_bytes = machine.part(BIG).stat().st_size

    ran = machine.run("cancel", "big")

    assert ran.exit_code == 0, ran.err
    assert f"; its {format_size(size_bytes)} are removed now" in ran.out
    assert not machine.part(BIG).exists()
    assert machine.converge().exit_code == 5
    condition = machine.converge().condition("models/big")
    assert condition is not None
    assert condition["reason"] == "Canceled"


def kill_in_the_middle(machine: Machine, origin: OriginSimulator) -> None:
    """A run was killed with a part of `big` on disk."""
    declare(machine, origin, "big")
    run = machine.start(machine.manifests)
    until_in(run, lambda: machine.has_part(BIG))
    killed(run)


def test_what_an_earlier_cancellation_left_is_removed_when_it_is_given_again(
    machine: Machine, origin: OriginSimulator
) -> None:
    kill_in_the_middle(machine, origin)
    assert machine.run("cancel", "big").exit_code == 0
    machine.part(BIG).write_bytes(b"what an older program left")

    ran = machine.run("cancel", "big")

    assert ran.exit_code == 0, ran.err
    assert ran.out.startswith("models/big is canceled by ")
    assert ran.out.endswith("; its 26 B are removed now\n")
    assert not machine.part(BIG).exists()
    machine.converge()
    assert machine.run("cancel", "big").out.startswith("no-active-job: models/big is canceled by ")


def test_a_download_that_is_resumed_and_then_canceled_counts_as_both(machine: Machine, origin: OriginSimulator) -> None:
    kill_in_the_middle(machine, origin)
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and "counters" in metrics(node))
        node.until(lambda: metrics(node)["counters"]["resumed"] == 1)
        assert machine.run("cancel", "big").exit_code == 0
        node.until(lambda: metrics(node)["counters"]["canceled"] == 1)
        counters = metrics(node)["counters"]

    once = {name for name, count in counters.items() if count == 1}
    assert once == {"admitted", "started", "resumed", "canceled"}
    assert (counters["completed"], counters["errors"]) == (0, 0)


def test_nothing_is_removed_from_another_disk_in_the_place_of_the_store(
    machine: Machine, origin: OriginSimulator
) -> None:
    kill_in_the_middle(machine, origin)
    (machine.store / "store.json").write_text('{"format_version": 1, "store_id": "of another machine"}')

    machine.run("cancel", "big")

    assert machine.part(BIG).exists()


def test_what_another_process_may_write_is_left_to_it(machine: Machine, origin: OriginSimulator) -> None:
    kill_in_the_middle(machine, origin)
    with WriterLock(machine.state) as lock:
        lock.acquire(command="a test", started_at=NOW)
        said = machine.run("cancel", "big").out
    assert said.endswith("; the process that is at work here, or the next run, removes what it has\n")
    assert machine.has_part(BIG)


# ---- a process that is gone -----------------------------------------------------------------------


def test_a_download_whose_process_was_killed_is_shown_as_interrupted(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, "big", "other", concurrency={"max": 2})
    run = machine.start(machine.manifests)
    until_in(run, lambda: machine.has_part(BIG) and machine.has_part(OTHER))
    until_in(run, lambda: {job["state"] for job in machine.listed("jobs")} == {"downloading"})
    assert "Jobs:  2 downloading" in machine.run("status").out
    killed(run)
    assert_interrupted(machine)

    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and states(node, "big", "other") == ["downloading"] * 2)
        node.until(lambda: "Jobs:  2 downloading" in machine.run("status").out)
        node.end(signal.SIGKILL)
        assert_interrupted(machine)


def assert_interrupted(machine: Machine) -> None:
    held = sum(machine.part(content).stat().st_size for content in (BIG, OTHER))
    assert f"Blobs: 2 ({format_size(held)}), 2 incomplete" in machine.run("status").out
    assert "Jobs:  2 interrupted" in machine.run("status").out
    assert [(job["state"], job["code"]) for job in machine.listed("jobs")] == [("queued", "interrupted")] * 2
    assert [(row["job"]["state"], row["position"]) for row in machine.listed("downloads")] == [
        ("queued", 1),
        ("queued", 2),
    ]
    assert all(" interrupted " in line for line in machine.run("get", "downloads").out.splitlines()[1:])
    assert machine.said("status")["writer"] is None
