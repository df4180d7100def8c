"""What can be decided about downloads while `serve` runs them: cancel, pause, and how many run at once."""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGKILL
from typing import Any

import pytest

from tests.e2e.machine import LOOPBACK, Machine, sha256, weights
from tests.e2e.serving import Serving, serving
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
SLOW = Fault(bytes_per_s=MIB)
CONTENTS = {f"m{n}": Pattern(90 * MIB, seed=n) for n in range(5)}
DIGESTS = {name: sha256(content) for name, content in CONTENTS.items()}


def declare(machine: Machine, origin: OriginSimulator, most: int) -> None:
    """Five downloads that will not end during a test, at most `most` at once."""
    models = {
        name: weights(origin.put(f"/{name}", content, always=SLOW), content, bytes=content.size_bytes)
        for name, content in CONTENTS.items()
    }
    machine.declare(models=models, egress=LOOPBACK, concurrency={"max": most, "per_host": 5})


def states(machine: Machine) -> dict[str, str]:
    found = {job["digest"]: job["state"] for job in machine.listed("jobs")}
    return {name: found[digest] for name, digest in DIGESTS.items() if digest in found}


def queue(node: Serving) -> list[str]:
    """The models whose downloads wait for a permit, in the order of their turn."""
    items = node.get("/state/downloads")["items"]
    places = {items[d]["position"]: name for name, d in DIGESTS.items() if d in items and items[d]["position"]}
    return [places[place] for place in sorted(places)]


def permits(node: Serving) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/state/models_metrics")["items"]["concurrency"]
    return found


def have_grown(machine: Machine, names: tuple[str, ...], kept: dict[str, int]) -> bool:
    return all(machine.has_part(CONTENTS[name], kept[name]) for name in names)


def sizes(machine: Machine, *names: str) -> dict[str, int]:
    return {name: machine.part(CONTENTS[name]).stat().st_size for name in names}


def statuses(machine: Machine, owner: str) -> list[str]:
    rows = [e["payload"] for e in machine.events() if e["topic"] == "models.download.progress"]
    return [row["status"] for row in rows if row["id"] == f"models/{owner}"]


@pytest.fixture
def three_of_five(machine: Machine, origin: OriginSimulator) -> Iterator[Serving]:
    """`serve` with three downloads that have begun and two that wait for their turn."""
    declare(machine, origin, 3)
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz"))
        node.until(lambda: have_grown(machine, ("m0", "m1", "m2"), dict.fromkeys(CONTENTS, 0)))
        node.until(lambda: queue(node) == ["m3", "m4"])
        yield node


# ---- cancel -------------------------------------------------------------------------------------


def test_a_canceled_digest_is_told_once_to_each_owner_and_leaves_nothing(
    machine: Machine, origin: OriginSimulator
) -> None:
    content, sources = CONTENTS["m0"], [origin.put(path, CONTENTS["m0"], always=SLOW) for path in ("/a", "/b")]
    machine.declare(models={n: weights(s, content) for n, s in zip("ab", sources, strict=True)}, egress=LOOPBACK)
    with serving(machine) as node:
        node.until(lambda: machine.has_part(content))
        assert machine.said("cancel", DIGESTS["m0"])["changed"]
        node.until(lambda: not machine.part(content).exists() and states(machine) == {"m0": "canceled"})
        node.until(lambda: {node.reason("models/a"), node.reason("models/b")} == {"Canceled"})
        asked = len(origin.requests)
        again = machine.said("cancel", DIGESTS["m0"])
        assert (again["code"], again["changed"]) == ("no-active-job", False)
        node.end(SIGKILL)
    with serving(machine) as node:
        node.until(lambda: node.get("/readyz") and node.reason("models/a") == "Canceled")
        for owner in "ab":
            told = statuses(machine, owner)
            assert (told.count("cancel-requested"), told.count("canceled")) == (1, 1)
            assert told.index("cancel-requested") < told.index("canceled")
        assert len(origin.requests) == asked
    assert list((machine.store / "tmp").iterdir()) == []


def test_what_one_model_cancels_goes_on_for_the_other(machine: Machine, origin: OriginSimulator) -> None:
    content, url = CONTENTS["m0"], origin.put("/m", CONTENTS["m0"], always=SLOW)
    machine.declare(models={name: weights(url, content) for name in "ab"}, egress=LOOPBACK)
    with serving(machine) as node:
        node.until(lambda: machine.has_part(content))
        assert "what models/b wants, too, goes on" in machine.said("cancel", "models/a")["message"]
        node.until(lambda: machine.listed("directives"))
        kept = machine.part(content).stat().st_size
        node.until(lambda: machine.has_part(content, kept))
        assert states(machine) == {"m0": "downloading"}
        assert statuses(machine, "a")[-1] == "cancel-requested"
        assert "canceled" not in statuses(machine, "b")


# ---- the queue ----------------------------------------------------------------------------------


def test_queued_downloads_keep_their_order_and_what_was_decided_about_them_over_a_kill(
    three_of_five: Serving, machine: Machine, origin: OriginSimulator
) -> None:
    assert states(machine) == {**dict.fromkeys(("m0", "m1", "m2"), "downloading"), "m3": "queued", "m4": "queued"}
    machine.said("pause", "m3")
    three_of_five.until(lambda: states(machine)["m3"] == "paused" and queue(three_of_five) == ["m4"])
    machine.said("resume", "m3")
    three_of_five.until(lambda: states(machine)["m3"] == "queued")
    machine.said("cancel", "m4")
    three_of_five.until(lambda: states(machine)["m4"] == "canceled" and queue(three_of_five) == ["m3"])
    machine.said("pause", "m0")
    three_of_five.until(lambda: states(machine)["m0"] == "paused" and states(machine)["m3"] == "downloading")
    machine.said("resume", "m0")
    three_of_five.until(lambda: queue(three_of_five) == ["m0"])
    machine.said("pause", "m1")
    three_of_five.until(lambda: states(machine)["m1"] == "paused" and queue(three_of_five) == [])
    three_of_five.end(SIGKILL)

    with serving(machine) as again:
        again.until(lambda: again.get("/readyz"))
        running = ("m0", "m2", "m3")
        again.until(
            lambda: states(machine) == {**dict.fromkeys(running, "downloading"), "m1": "paused", "m4": "canceled"}
        )
        assert statuses(machine, "m1").count("paused") == 1
        assert origin.to("/m4") == []
        machine.said("resume", "m4")
        machine.said("resume", "m1")
        again.until(lambda: set(queue(again)) == {"m1", "m4"})


# ---- concurrency --------------------------------------------------------------------------------


def test_fewer_permits_kill_no_download_and_more_start_the_next_ones(
    three_of_five: Serving, machine: Machine, origin: OriginSimulator
) -> None:
    node, running = three_of_five, ("m0", "m1", "m2")
    found = permits(node)
    assert (found["configured_max"], found["held_permits"], found["pending_shrink"]) == (3, 3, None)

    declare(machine, origin, 1)
    node.until(lambda: permits(node)["pending_shrink"] == 2)
    assert permits(node)["configured_max"] == 1
    kept = sizes(machine, *running)
    node.until(lambda: have_grown(machine, running, {name: size + MIB for name, size in kept.items()}))
    assert queue(node) == ["m3", "m4"]
    machine.said("cancel", "m0")
    node.until(lambda: permits(node)["pending_shrink"] == 1)
    machine.said("cancel", "m1")
    node.until(lambda: permits(node)["pending_shrink"] is None)
    assert queue(node) == ["m3", "m4"]
    assert len(origin.requests) == 3, "nobody was asked twice"

    declare(machine, origin, 5)
    node.until(lambda: have_grown(machine, ("m2", "m3", "m4"), dict.fromkeys(CONTENTS, 0)))
    after = {"configured_max": 5, "available_permits": 2, "held_permits": 3, "pending_shrink": None}
    node.until(lambda: permits(node).items() >= after.items())
    assert len(origin.requests) == 5
