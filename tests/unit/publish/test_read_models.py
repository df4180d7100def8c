from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.core.desired import AdapterUse, Driver, Load, Role, Runtime, SlotSpec, Transfer
from reconciler.core.history import HistoryRow
from reconciler.core.job import Job, JobKind, JobState
from reconciler.core.observed import SlotObserved, StoreStatus
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.report import Result, ResultStatus
from reconciler.core.slot import AdapterTarget, Launch, LaunchFailure, SlotRecord, SlotTarget
from reconciler.core.source import WebFile
from reconciler.core.status import Condition, Past
from reconciler.core.transfers import Concurrency, Figures
from reconciler.plan.observed_document import decode_observed
from reconciler.publish.status import SourceStatus
from reconciler.publish.tally import Tally
from tests.builders import (
    NOW,
    adapter,
    ago,
    blob,
    converged,
    desired,
    digest,
    entry,
    file,
    files_of,
    foreign,
    gone,
    model,
    observed,
    serving,
    slot,
)
from tests.fakes.work import IDLE
from tests.unit.publish.statuses import items, ready, running, status, view

# ---- models and adapters -------------------------------------------------------------------------


def test_a_model_says_what_it_is_and_of_which_files() -> None:
    spec = model("llama", file("a", "q/a.gguf", size=60, role=Role.SHARD), file("b", size=None), labels=("chat",))
    found = items("models", view(status(desired(spec), observed(*converged(spec)))))["llama"]

    files = found.pop("files")
    assert found == {
        "name": "llama", "display_name": None, "provider": "https", "license": None, "labels": ["chat"],
        "desired": True, "present": True, "verified": True, "registered": True,
        "generation": files_of(*spec.files).id, "bytes": 160,
        "ready": True, "reason": "Converged", "message": "as declared",
    }  # fmt: skip
    assert files == {
        "q/a.gguf": {
            "sha256": digest("a"), "bytes": 60, "role": "shard", "source": "https://example.com/a.gguf",
            "present": True, "verified": True,
        },
        "b.gguf": {
            "sha256": digest("b"), "bytes": 100, "role": "model", "source": "https://example.com/b.gguf",
            "present": True, "verified": True,
        },
    }  # fmt: skip


def test_desired_present_and_verified_are_three_facts() -> None:
    wanted = desired(model("absent"), model("unverified"), model("damaged"), model("quarantined"))
    found = observed(
        gone("absent"),
        blob("unverified", verified=False),
        blob("damaged", damaged=True),
        blob("quarantined", quarantined=ago(days=1)),
        blob("dropped"),
        entry(model("dropped")),
    )

    shown = items("models", view(status(wanted, found)))

    facts = {name: (m["desired"], m["present"], m["verified"], m["registered"]) for name, m in shown.items()}
    assert facts == {
        "absent": (True, False, False, False),
        "unverified": (True, True, False, False),
        "damaged": (True, True, False, False),
        "quarantined": (True, False, False, False),
        "dropped": (False, True, True, True),
    }


def test_a_model_that_is_registered_with_other_bytes_is_not_registered_as_declared() -> None:
    found = items("models", view(status(desired(model("a", "new")), observed(entry(model("a", "old"))))))["a"]

    assert found["registered"] is False
    assert found["generation"] == files_of("old").id
    assert list(found["files"]) == ["new.gguf"]


def test_the_bytes_on_disk_are_counted_as_they_are_and_not_as_declared() -> None:
    spec = model("a", file("a", size=5), file("b", "b", size=7))

    found = items("models", view(status(desired(spec), observed(blob("a", size=60), gone("b", part=3)))))["a"]

    assert (found["bytes"], [each["bytes"] for each in found["files"].values()]) == (67, [60, 7])


def test_an_unknown_size_is_null() -> None:
    found = items("models", view(status(desired(model("a", file("a"), file("b", size=None))))))["a"]

    assert found["bytes"] is None


def test_no_source_is_shown_with_what_it_must_not_tell() -> None:
    secret = WebFile("https://user:pass@example.com/a.gguf?token=hunter2#frag")
    spec = model("a", file("a", sources=(secret,)))
    seen = view(status(desired(spec), observed(gone("a"))), running("a", 1))

    for name in ("models", "downloads", "plan"):
        shown = str(items(name, seen))
        assert "https://example.com/a.gguf" in shown
        assert "hunter2" not in shown
        assert "pass" not in shown


def test_an_adapter_names_its_base_alpha_and_rank() -> None:
    declared = replace(adapter("sql", "qwen"), alpha=16.0, rank=8)
    dropped = adapter("old", "qwen")
    shown = items("adapters", view(status(desired(model("qwen"), declared), observed(entry(dropped)))))

    assert {name: (a["base"], a["alpha"], a["rank"]) for name, a in shown.items()} == {
        "sql": ("qwen", 16.0, 8),
        "old": ("qwen", None, None),
    }
    assert set(items("models", view(status(desired(model("qwen"), declared), observed(entry(dropped)))))) == {"qwen"}


# ---- slots ---------------------------------------------------------------------------------------

RUNTIME = Runtime(("llama-server", "--port", "{port}"), port=8080)


def process_target(tag: str = "qwen", scale: float = 0.5) -> SlotTarget:
    lora = AdapterTarget("sql", files_of("sql"), "/g/sql.gguf", scale)
    return SlotTarget(tag, files_of(tag), Launch(RUNTIME, f"/g/{tag}.gguf", None, (lora,)))


def launched(target: SlotTarget, state: ProcessState, launch_id: str = "l1", message: str = "") -> ProcessObserved:
    return ProcessObserved(
        launch_id, target.id, state, ago(minutes=1), ago(minutes=2), 4711, 40001, (0.5,), message, "/log"
    )  # fmt: skip


def process_slot(load: Load = Load.EAGER) -> SlotSpec:
    return SlotSpec("chat", "qwen", Driver.PROCESS, adapters=(AdapterUse("sql", 0.8),), load=load, runtime=RUNTIME)


def shown_slot(seen: SlotObserved | None, spec: SlotSpec | None = None, *said: Condition) -> dict[str, object]:
    wanted = desired(model("qwen"), adapter("sql", "qwen"), *([spec] if spec else []))
    found = observed(*([seen] if seen else []))
    return dict(items("slots", view(status(wanted, found, conditions=said or None)))["chat"])


def failure(target: SlotTarget, next_attempt: bool = False) -> LaunchFailure:
    next_at = NOW + timedelta(seconds=30) if next_attempt else None
    return LaunchFailure(target.id, "Crashed", "exit 1: out of memory", 3, NOW, next_at)


def test_a_healthy_process_slot_says_where_it_answers_and_what_it_applies() -> None:
    target = process_target()
    seen = SlotObserved(
        SlotRecord("chat", target),
        target.files.id,
        (launched(target, ProcessState.EXITED, "l0"), launched(target, ProcessState.HEALTHY)),
        RouteObserved(8080, "l1", is_up=True),
    )

    found = shown_slot(seen, process_slot())

    assert found == {
        "name": "chat", "desired": True, "model": "qwen", "driver": "process", "load": "eager", "default": False,
        "state": "ready", "address": "127.0.0.1:8080", "pid": 4711, "started_at": "2026-01-05T11:58:00Z",
        "log": "/log", "adapters": {"sql": {"scale": 0.8, "applied": 0.5}},
        "current": {"model": "qwen", "id": target.id, "generation": target.files.id},
        "candidate": None, "candidate_deadline": None, "last_good": None, "failure": None, "restarts": 0,
        "route": {"port": 8080, "up": True, "waiting_since": None},
        "ready": True, "reason": "Converged", "message": "as declared",
    }  # fmt: skip


def test_without_a_stable_address_a_slot_answers_where_its_launch_does() -> None:
    target = process_target()
    seen = SlotObserved(SlotRecord("chat", target), None, (launched(target, ProcessState.HEALTHY),))

    assert shown_slot(seen, process_slot())["address"] == "127.0.0.1:40001"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (ProcessState.STARTING, "starting"),
        (ProcessState.HEALTHY, "ready"),
        (ProcessState.UNHEALTHY, "unhealthy"),
        (ProcessState.STOPPING, "stopping"),
        (ProcessState.EXITED, "failed"),
    ],
)
def test_the_state_of_a_slot_is_that_of_its_newest_launch(state: ProcessState, shown: str) -> None:
    target = process_target()
    seen = SlotObserved(SlotRecord("chat", target), target.files.id, (launched(target, state),))

    assert shown_slot(seen, process_slot())["state"] == shown


def test_a_slot_that_crashed_says_why_and_when_it_is_started_again() -> None:
    target = process_target()
    waiting = SlotObserved(SlotRecord("chat", target, failure=failure(target, next_attempt=True)), target.files.id)
    given_up = SlotObserved(SlotRecord("chat", target, failure=failure(target)), target.files.id)

    found = shown_slot(waiting, process_slot())

    assert (found["state"], found["restarts"], found["pid"], found["address"]) == ("waiting", 3, None, None)
    assert found["failure"] == {
        "id": target.id,
        "reason": "Crashed",
        "message": "exit 1: out of memory",
        "attempts": 3,
        "at": "2026-01-05T12:00:00Z",
        "next_attempt_at": "2026-01-05T12:00:30Z",
    }
    assert shown_slot(given_up, process_slot())["state"] == "failed"


def test_a_candidate_is_shown_beside_what_serves() -> None:
    old, new = process_target("qwen"), process_target("llama")
    record = SlotRecord("chat", old, new, candidate_deadline=NOW)
    launches = (launched(old, ProcessState.HEALTHY), launched(new, ProcessState.STARTING, "l2"))
    seen = SlotObserved(record, old.files.id, launches)

    found = shown_slot(seen, process_slot())

    assert (found["state"], found["pid"]) == ("ready", 4711)
    assert found["candidate"] == {"model": "llama", "id": new.id, "generation": new.files.id}
    assert found["candidate_deadline"] == "2026-01-05T12:00:00Z"


def test_a_slot_without_anything_current_is_starting_failed_or_pending() -> None:
    target = process_target()
    failed = SlotRecord("chat", failure=failure(target))

    assert shown_slot(SlotObserved(SlotRecord("chat", None, target), None), process_slot())["state"] == "starting"
    assert shown_slot(SlotObserved(failed, None), process_slot())["state"] == "failed"
    assert shown_slot(None, process_slot())["state"] == "pending"


@pytest.mark.parametrize("load", [Load.EAGER, Load.ON_DEMAND])
@pytest.mark.parametrize(
    ("reason", "shown"), [("Unloaded", "unloaded"), ("Idle", "unloaded"), ("Down", "unloaded"), ("Healthy", "stopped")]
)
def test_a_slot_whose_process_is_not_to_run_is_unloaded(load: Load, reason: str, shown: str) -> None:
    target = process_target()
    seen = SlotObserved(SlotRecord("chat", target), target.files.id)
    said = replace(ready("slots/chat"), reason=reason)

    assert shown_slot(seen, process_slot(load), said)["state"] == shown


def test_a_slot_of_files_is_ready_when_its_link_is_there() -> None:
    assert shown_slot(serving("chat", model("qwen")), slot("chat", "qwen"))["state"] == "ready"
    assert shown_slot(serving("chat", model("qwen"), shown=False), slot("chat", "qwen"))["state"] == "broken"


def test_a_slot_that_is_declared_no_more_is_shown_until_it_is_gone() -> None:
    found = shown_slot(serving("chat", model("qwen")))

    assert (found["desired"], found["model"], found["driver"], found["ready"]) == (False, "qwen", "link", None)


def test_no_environment_of_a_runtime_is_shown() -> None:
    runtime = replace(RUNTIME, env=(("KEY", "env:SECRET"),))
    spec = replace(process_slot(), runtime=runtime)

    assert "SECRET" not in str(shown_slot(None, spec))


# ---- storage, plan, metrics -----------------------------------------------------------


def test_storage_tells_whose_bytes_there_are_and_when_the_others_go() -> None:
    found = observed(
        blob("used", size=1000),
        blob("loose", size=200, unreferenced=ago(hours=1)),
        blob("leaving", size=30, quarantined=ago(days=1), confirmed=True),
        foreign("theirs", size=4),
        gone("partly", part=5),
        free=10**9,
    )

    shown = items("storage", view(status(desired(model("used")), found)))

    assert {name: shown[name] for name in ("referenced", "unreferenced", "quarantined", "partial", "foreign")} == {
        "referenced": {"count": 1, "bytes": 1000},
        "unreferenced": {"count": 1, "bytes": 200},
        "quarantined": {"count": 1, "bytes": 30},
        "partial": {"count": 1, "bytes": 5},
        "foreign": {"count": 1, "bytes": 4},
    }
    assert shown["disk"] == {"free_bytes": 10**9, "total_bytes": 2 * 10**9}
    assert shown[digest("leaving")] == {
        "state": "quarantined", "bytes": 30, "confirmed": True,
        "since": "2026-01-04T12:00:00Z", "due_at": "2026-01-11T12:00:00Z",
    }  # fmt: skip
    assert shown[digest("loose")]["due_at"] == "2026-01-06T11:00:00Z"
    assert shown[digest("partly")] == {
        "state": "partial", "bytes": 5, "since": None, "due_at": None, "confirmed": False
    }  # fmt: skip
    assert {digest("used"), digest("theirs")}.isdisjoint(shown)


def test_the_plan_has_an_item_for_every_action_with_its_result_and_a_summary() -> None:
    wanted, found = desired(model("a")), observed(gone("a"))
    fetch = status(wanted, found).plan.actions[0]
    shown = items("plan", view(status(wanted, found, results=(Result(fetch.id, ResultStatus.WAITING),))))

    assert set(shown) == {"summary", *(action.id for action in status(wanted, found).plan.actions)}
    assert shown[fetch.id]["op"] == "Fetch"
    assert shown[fetch.id]["result"] == {"id": fetch.id, "status": "waiting", "code": None, "message": ""}
    assert shown["summary"]["fetch"] == {"count": 1, "bytes": 100, "unknown": 0}
    assert shown["summary"]["confirm_prune"] is None


def test_a_tripped_fuse_is_in_the_summary_with_what_would_release_it() -> None:
    of = status(desired(documents=0), observed(blob("a"), entry(model("a"))))

    summary = items("plan", view(of))["summary"]

    assert of.plan.fuse is not None
    assert summary["confirm_prune"] == of.plan.fuse.confirm
    assert summary["prune_blocked"] == {"reason": of.plan.fuse.reason, "message": of.plan.fuse.message}


def test_models_metrics_of_a_node_that_has_done_nothing() -> None:
    assert items("models_metrics", view(status())) == {
        "counters": {
            "started": 0, "queued": 0, "admitted": 0, "resumed": 0, "canceled": 0, "completed": 0,
            "completed_cached": 0, "errors": 0, "bytes_total": 0, "preflight_ok": 0, "preflight_denied": 0,
            "preflight_skipped": 0, "coalesced": 0, "ewma_mbps": None,
        },
        "concurrency": {
            "configured_max": 2, "available_permits": 2, "held_permits": 0, "hard_cap": 16, "pending_shrink": None,
        },
        "jobs": {},
        "inflight": {},
        "runtime": {
            "idle_timeout_secs": 300, "send_retries": 2, "stream_retries": 2, "retry_backoff_ms": 250,
            "preflight_enabled": True,
        },
        "states": dict.fromkeys(JobState, 0),
        "objects": {"models": 0, "adapters": 0, "slots": 0, "ready": 0, "not_ready": 0},
        "running": {"done_bytes": 0, "total_bytes": 0},
        "requests": {"total": 0, "denied": 0},
    }  # fmt: skip


def test_metrics_count_jobs_by_state_objects_and_what_happened() -> None:
    waiting = Job(digest("b"), JobKind.FETCH, JobState.WAITING, 1, NOW)
    of = status(
        desired(model("a"), model("b"), model("c")),
        observed(gone("a"), gone("b"), gone("c"), waiting),
        conditions=(ready("models/a", is_ready=False),),
    )
    tally = Tally(1, 2, 3, 4, completed=5, completed_cached=6, errors=7, bytes_total=8)
    figures = Figures(Concurrency(1, 0, 1, 4, 2), (digest("c"),), True, 9, 10, 11, 12, 3.14159)

    shown = items("models_metrics", view(of, running("a", 5), tally=tally, figures=figures))

    assert {state: count for state, count in shown["states"].items() if count} == {
        "downloading": 1,
        "waiting": 1,
        "queued": 1,
    }
    assert shown["objects"] == {"models": 3, "adapters": 0, "slots": 0, "ready": 0, "not_ready": 1}
    assert shown["concurrency"] == {
        "configured_max": 1, "available_permits": 0, "held_permits": 1, "hard_cap": 4, "pending_shrink": 2,
    }  # fmt: skip
    assert shown["running"] == {"done_bytes": 5, "total_bytes": 100}
    assert shown["counters"] == {
        "started": 1, "queued": 1, "admitted": 2, "resumed": 3, "canceled": 4, "completed": 5, "completed_cached": 6,
        "errors": 7, "bytes_total": 8, "preflight_ok": 9, "preflight_denied": 10, "preflight_skipped": 11,
        "coalesced": 12, "ewma_mbps": 3.142,
    }  # fmt: skip


def test_a_running_job_is_shown_with_who_shares_it() -> None:
    shared = running("a", 5)
    shared = replace(shared, spec=replace(shared.spec, owners=("models/a", "models/b", "adapters/c")))

    shown = items("models_metrics", view(status(), shared, corr_ids={digest("a"): "corr-a"}))

    assert shown["jobs"] == {
        digest("a"): {
            "id": "models/a", "kind": "fetch", "state": "downloading", "url": "https://example.com/a.gguf",
            "corr_id": "corr-a",
        },
    }  # fmt: skip
    assert shown["inflight"] == {
        digest("a"): {"primary": "models/a", "followers": ["models/b", "adapters/c"], "count": 3}
    }


def test_the_runtime_is_what_the_manifests_say_and_without_a_limit_no_timeout_is_told() -> None:
    wanted = replace(desired(), transfer=Transfer(retries=7, idle_timeout_s=0))
    off = replace(IDLE, preflight_enabled=False)

    assert items("models_metrics", view(status(wanted), figures=off))["runtime"] == {
        "send_retries": 7, "stream_retries": 7, "retry_backoff_ms": 250, "preflight_enabled": False,
    }  # fmt: skip


# ---- node, conditions, history, observed ---------------------------------------------------------


def test_the_node_tells_what_it_is_and_where_its_desired_state_comes_from() -> None:
    of = status(commit="c0ffee", conditions=(ready("node"),))
    broken = replace(of.source, is_ready=False, message="no route to host", checked_at=NOW)
    of = replace(of, source=broken, suspended=True)

    shown = items("node", view(of))

    assert shown["hardware"] == {"cpus": 4, "memory_bytes": 2**34, "available_memory_bytes": None}
    assert shown["versions"] == {"reconciler": "1.2.3"}
    assert shown["directories"] == {"state": "/var/lib/r", "store": "/srv/store"}
    assert shown["source"] == {
        "kind": "git", "location": "/srv/manifests", "revision": of.source.revision, "commit": "c0ffee",
        "ready": False, "message": "no route to host", "checked_at": "2026-01-05T12:00:00Z", "unready": [],
    }  # fmt: skip
    assert shown["store"]["status"] == "ready"
    assert shown["pass"] == {
        "at": "2026-01-05T12:00:00Z", "took_s": 0.25, "suspended": True, "failed": None, "wake_at": None,
        "ready": True, "reason": "Converged", "message": "as declared",
    }  # fmt: skip
    assert shown["schedule"]["timezone"] == "UTC"


def test_a_missing_store_is_told_with_its_reason() -> None:
    store = items("node", view(status(found=observed(store=StoreStatus.MISSING))))["store"]

    assert (store["status"], store["problem"]) == ("missing", "the disk is not mounted")


def test_conditions_name_the_commit_and_each_object_its_past() -> None:
    past = tuple(Past(f"r{n}", False, "Progressing", ago(hours=n)) for n in range(5))
    of = status(commit="c0ffee", conditions=(ready("node"), replace(ready("models/a"), history=past)))

    shown = items("conditions", view(of))

    assert shown["node"]["commit"] == "c0ffee"
    assert shown["node"]["observed_revision"] == of.source.revision
    assert shown["models/a"]["observed_revision"] == "rev"
    assert [each["revision"] for each in shown["models/a"]["history"]] == [f"r{n}" for n in range(5)]
    (condition,) = shown["models/a"]["conditions"]
    assert condition["type"] == "Ready"


def test_history_rows_keep_their_ids() -> None:
    rows = tuple(HistoryRow(ago(hours=n), "Reclaim", digest("a"), 5, ("models/a",), "Expired", "f") for n in (1, 2))
    rest = HistoryRow(ago(hours=3), "Restore", None, None, (), "Wanted", "f")

    shown = items("prune_history", view(status(history=(*rows, rest, rows[0]))))

    assert sorted(shown) == [
        "20260105T090000.000000Z-Restore-all",
        f"20260105T100000.000000Z-Reclaim-{digest('a')}",
        f"20260105T110000.000000Z-Reclaim-{digest('a')}",
    ]
    assert shown[f"20260105T110000.000000Z-Reclaim-{digest('a')}"] == {
        "at": "2026-01-05T11:00:00Z", "op": "Reclaim", "sha256": digest("a"), "bytes": 5, "for": ["models/a"],
        "reason": "Expired", "plan": "f",
    }  # fmt: skip


def test_observed_is_enough_to_plan_from() -> None:
    of = status(desired(model("a")), observed(*converged(model("a")), blob("b", unreferenced=ago(hours=1))))

    found, policy = decode_observed(items("observed", view(of)))

    assert found == of.observed
    assert policy == of.policy


def test_a_folder_has_no_commit() -> None:
    source = SourceStatus("folder", "/srv/manifests", "r1")

    assert items("node", view(replace(status(), source=source)))["source"]["commit"] is None
