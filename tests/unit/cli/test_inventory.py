"""`status` and `get`: everything a node has, why it is where it is, for people and programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli.render import inventory
from reconciler.cli.render.table import folded, prose_table
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.egress import Posture
from reconciler.core.entry import Entry, file_set
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import BlobObserved, BlobRow, NodeFacts, ObservedState, SlotObserved, StoreStatus
from reconciler.core.slot import SlotRecord
from reconciler.core.status import Condition, ConditionType
from reconciler.plan.needs import needs
from tests.builders import desired, digest, model
from tests.ledger import check_ledger_document
from tests.unit.cli.plans import AT, FILES, MINILM, OLD, SPEC, TARGET, waiting_condition
from tests.unit.cli.programs import NOTHING_KNOWN, FakeProgram, run

LATER = waiting_condition("x").next_attempt_at
READY = Condition("models/all-minilm-l6-v2", ConditionType.READY, True, "Converged", "served by chat", "r", AT)
WANTED = Condition("models/wanted", ConditionType.READY, False, "Progressing", "not here", "r", AT)

SNAPSHOT = replace(
    NOTHING_KNOWN,
    generation=7,
    blobs={
        MINILM: BlobRow(MINILM, AT, 90_868_376, AT),
        OLD: BlobRow(OLD, AT, 1_000, AT, unreferenced_at=AT, quarantined_at=AT),
    },
    entries={SPEC.ref: Entry(SPEC, file_set(FILES).id, (), AT)},
    jobs={OLD: Job(OLD, JobKind.FETCH, JobState.WAITING, 3, AT, Code.HTTP, "503", LATER)},
    directives=(Directive(DirectiveKind.PIN, "models/all-minilm-l6-v2", (MINILM,), "ann", AT),),
    conditions=(READY, WANTED, waiting_condition("models/wanted")),
    facts={"revision": "r"},
)
OBSERVED = ObservedState(
    NodeFacts(StoreStatus.READY, default_slot="chat"),
    slots={"chat": SlotObserved(SlotRecord("chat", TARGET), TARGET.files.id)},
)
REQUEST = LedgerRow(
    AT, "allow", "models.download", "hub.example", 443, "https", 2_000_000, 20, "c0ffee", "house", "models.download",
    "93.184.215.14", "hub.example", 120, None, Posture.PUBLIC,
)  # fmt: skip
DENIED = LedgerRow(
    AT, "deny", "egress-denied", "::1", 8080, "http", 0, 0, "c0ffee", error="the scheme is http", posture=Posture.PUBLIC
)
ROW = HistoryRow(AT, "Reclaim", OLD, 1_000, ("models/old",), "QuarantineOver", "f" * 64)


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_STATE_DIR", "/state")
    monkeypatch.delenv("RECONCILER_OUTPUT", raising=False)


def out(*argv: str) -> str:
    subjects = {"c0ffee": "models/a"}
    found = FakeProgram(
        snapshot=SNAPSHOT, observed=OBSERVED, history=(ROW,), ledger=(REQUEST, DENIED), subjects=subjects
    )
    ran = run(found, *argv)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_models_are_those_registered_and_those_wanted() -> None:
    assert (
        out("get", "models")
        == """\
NAME              READY             SIZE     FILES  PROVIDER  LABELS
all-minilm-l6-v2  yes               90.9 MB  1      hf
wanted            no (Progressing)  -        -      -         -
"""
    )


def test_models_as_json_keep_desired_present_and_verified_apart() -> None:
    found = json.loads(out("get", "models", "-o", "json"))["items"]
    assert [(m["name"], m["registered"], m["ready"]) for m in found] == [
        ("all-minilm-l6-v2", True, True),
        ("wanted", False, False),
    ]
    assert found[0]["verified"] is True
    assert found[0]["files"] == [{"path": "model.safetensors", "sha256": MINILM, "role": "model"}]


def test_slots_show_what_they_serve() -> None:
    assert out("get", "slots").splitlines() == [
        "NAME  MODEL             STATE  ADDRESS  LAST GOOD  DEFAULT",
        "chat  all-minilm-l6-v2  ready  -        -          yes",
    ]
    assert json.loads(out("get", "slots", "-o", "jsonl"))["current"]["model"] == "all-minilm-l6-v2"
    assert json.loads(out("get", "slots", "-o", "jsonl"))["default"] is True


def test_blobs_are_shown_in_full_when_piped() -> None:
    lines = out("get", "blobs").splitlines()
    assert f"{MINILM}  90.9 MB  verified     -                     models/all-minilm-l6-v2" in lines
    assert f"{OLD}  1.0 kB   quarantined  2026-11-21T12:00:00Z" in lines


def test_history_directives_and_conditions() -> None:
    assert out("get", "history").splitlines()[1].split() == [
        "2026-11-21T12:00:00Z", "Reclaim", OLD, "1.0", "kB", "models/old", "QuarantineOver",
    ]  # fmt: skip
    assert out("get", "directives").splitlines()[1].split() == [
        "pin", "models/all-minilm-l6-v2", "ann", "2026-11-21T12:00:00Z", "-",
    ]  # fmt: skip
    assert len(out("get", "conditions").splitlines()) == 4
    assert json.loads(out("get", "history", "-o", "json"))["items"][0]["plan"] == "f" * 64


def test_egress_is_what_was_asked_of_other_hosts_and_why_it_was_refused() -> None:
    head, asked, denied = (" ".join(line.split("  ", 1)[1].split()) for line in out("get", "egress").splitlines())
    assert head == "DECISION OUTCOME HOST ADDRESS SENT RECEIVED TOOL FOR"
    assert asked == "allow ok hub.example 93.184.215.14 120 B 2.0 MB models.download models/a"
    assert denied == "deny egress-denied http://[::1]:8080 - - 0 B - models/a: the scheme is http"
    assert out("get", "egress", "--limit", "1").count("hub.example") == 1


def test_egress_on_a_terminal_keeps_time_outcome_host_bytes_and_model() -> None:
    failed = replace(REQUEST, reason_code="not-found", host="cas-bridge.xethub.hf.co", bytes_in=0)
    listing = inventory.requests((REQUEST, failed), {"c0ffee": "models/qwen2.5-coder-7b"})
    head, rows = folded(listing.head, listing.rows, listing.spare, 80, prose=True)
    assert prose_table(head, rows, 80) == [
        "AT                    DECISION  OUTCOME    HOST                     RECEIVED",
        "2026-11-21T12:00:00Z  allow     ok         hub.example              2.0 MB",
        "    models/qwen2.5-coder-7b",
        "2026-11-21T12:00:00Z  allow     not-found  cas-bridge.xethub.hf.co  0 B",
        "    models/qwen2.5-coder-7b",
    ]


def test_a_request_whose_job_is_forgotten_has_no_model() -> None:
    (row,) = inventory.requests((REQUEST,), {}).rows
    assert row[-1] == "-"


def test_egress_as_json_is_the_ledger_by_its_schema() -> None:
    found = json.loads(out("get", "egress", "-o", "json"))["items"]
    for item in found:
        check_ledger_document(item)
    assert [item["dest"].get("ip") for item in found] == ["93.184.215.14", None]


@pytest.mark.parametrize(
    "what",
    ["models", "slots", "adapters", "downloads", "jobs", "blobs", "history", "egress", "directives", "conditions"],
)
def test_an_empty_list_says_so_and_is_an_empty_document(what: str) -> None:
    assert run(FakeProgram(), "get", what).out == f"No {what}.\n"
    assert json.loads(run(FakeProgram(), "get", what, "-o", "json").out) == {"items": []}
    assert run(FakeProgram(), "get", what, "-o", "jsonl").out == ""


def test_status_says_of_each_object_what_is_wrong_and_when_it_is_tried_next() -> None:
    assert (
        out("status")
        == """\
State: /state
Store: /state/store
Blobs: 2 (90.9 MB), 1 quarantined
Jobs:  1 waiting

OBJECT                   READY  REASON     NEXT TRY              MESSAGE
models/all-minilm-l6-v2  yes    Converged  -                     served by chat
models/wanted            no     Transient  2026-11-21T13:00:00Z  503
"""
    )


def test_status_as_json_has_every_condition() -> None:
    document = json.loads(out("status", "-o", "json"))
    assert document["generation"] == 7
    assert document["blobs"] == {
        "count": 2, "bytes": 90_869_376, "part_bytes": 0, "quarantined": 1, "verified": 1,
    }  # fmt: skip
    assert len(document["conditions"]) == 3
    assert document["state_dir"] == str(Path("/state"))


def test_status_counts_what_incomplete_blobs_have_so_far_and_nothing_that_is_not_ours() -> None:
    begun, bare, foreign = digest("begun"), digest("bare"), digest("foreign")
    rows = {**SNAPSHOT.blobs, begun: BlobRow(begun, AT), bare: BlobRow(bare, AT)}
    parts = {tag: BlobObserved(tag, rows.get(tag), None, None, 9_000_000) for tag in (begun, foreign)}
    program = FakeProgram(snapshot=replace(SNAPSHOT, blobs=rows), observed=replace(OBSERVED, blobs=parts))

    assert "Blobs: 3 (99.9 MB), 1 incomplete, 1 quarantined" in run(program, "status").out.splitlines()
    found = json.loads(run(program, "status", "-o", "json").out)["blobs"]
    assert (found["bytes"], found["part_bytes"], found["incomplete"]) == (99_869_376, 9_000_000, 1)


def half_here() -> FakeProgram:
    """Wanted: one digest with a part of its bytes, one without a byte, one whose model is not registered yet."""
    begun, bare, early = digest("begun"), digest("bare"), digest("early")
    rows = {**SNAPSHOT.blobs, begun: BlobRow(begun, AT), bare: BlobRow(bare, AT), early: BlobRow(early, AT, 70, AT)}
    parts = {begun: BlobObserved(begun, rows[begun], None, None, 9_000_000)}
    wanted = desired(model("m", "begun", "bare", "early"), model("twin", "begun"))
    found = replace(OBSERVED, blobs=parts)
    return FakeProgram(snapshot=replace(SNAPSHOT, blobs=rows), observed=found, needed=needs(wanted))


def test_blobs_are_those_with_bytes_on_disk_and_say_who_wants_them() -> None:
    _, *rows = run(half_here(), "get", "blobs").out.splitlines()
    shown = {row.split("  ")[0]: " ".join(row.split()[1:]) for row in rows}

    assert shown == {
        MINILM: "90.9 MB verified - models/all-minilm-l6-v2",
        OLD: "1.0 kB quarantined 2026-11-21T12:00:00Z",
        digest("begun"): "9.0 MB incomplete - models/m, models/twin",
        digest("early"): "70 B verified - models/m",
    }


def test_blobs_as_json_are_the_same_and_an_incomplete_one_has_no_size_but_a_part() -> None:
    found = {item["digest"]: item for item in json.loads(run(half_here(), "get", "blobs", "-o", "json").out)["items"]}

    assert found.keys() == {MINILM, OLD, digest("begun"), digest("early")}
    begun, early = found[digest("begun")], found[digest("early")]
    assert (begun["bytes"], begun["part_bytes"], begun["for"]) == (None, 9_000_000, ["models/m", "models/twin"])
    assert (early["bytes"], early["part_bytes"], early["for"]) == (70, None, ["models/m"])


def test_status_counts_the_blobs_that_are_listed() -> None:
    assert "Blobs: 4 (99.9 MB), 1 incomplete, 1 quarantined" in run(half_here(), "status").out.splitlines()


def test_blobs_of_a_store_that_is_away_are_as_they_were_and_incomplete_ones_are_not_known() -> None:
    program = half_here()
    program.observed = ObservedState(NodeFacts(StoreStatus.MISSING, "the store directory /s has no store.json"))

    ran = run(program, "get", "blobs")

    assert (ran.code, len(ran.out.splitlines())) == (1, 4)
    assert ran.err.startswith("reconcile: the store directory /s has no store.json\n  hint: ")


def test_status_of_a_fresh_node() -> None:
    assert run(FakeProgram(), "status").out.splitlines()[-1] == "No manifest has been accepted here yet."
