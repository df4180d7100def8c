"""What the OpenAPI document says of downloads: the enums are those of the code, and what is shown and told is so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from reconciler.core.blocks import Blocks, Extras
from reconciler.core.desired import Budgets
from reconciler.core.event import Topic
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState, Status
from reconciler.core.job_table import TABLE, Happening
from reconciler.publish.http.schemas import SCHEMAS, schema
from reconciler.publish.progress_events import progress_events
from reconciler.transfer.record import told_of
from tests.builders import NOW, desired, digest, gone, model, observed, web
from tests.unit.publish.statuses import items, running, status, view


def check(body: object, name: str) -> None:
    validator = jsonschema.Draft202012Validator({**schema(name), "components": {"schemas": SCHEMAS}})
    validator.validate(body)


@pytest.mark.parametrize(
    ("name", "values"),
    [("JobKind", JobKind), ("JobState", JobState), ("DownloadStatus", Status), ("Code", Code), ("Topic", Topic)],
)
def test_an_enum_of_the_code_is_the_same_in_the_schema(name: str, values: type[StrEnum]) -> None:
    assert SCHEMAS[name]["enum"] == [each.value for each in values]


@pytest.mark.parametrize(
    ("where", "member", "enum"),
    [
        ("Download", "kind", "JobKind"),
        ("Download", "state", "JobState"),
        ("Download", "code", "Code"),
        ("Progress", "kind", "JobKind"),
        ("Progress", "status", "DownloadStatus"),
        ("Progress", "code", "Code"),
        ("Event", "event", "Topic"),
    ],
)
def test_what_is_said_of_a_download_takes_only_values_of_the_enum(where: str, member: str, enum: str) -> None:
    described = SCHEMAS[where]["properties"][member]
    assert schema(enum) in (described, *described.get("anyOf", ()))
    with pytest.raises(jsonschema.ValidationError):
        check({**_valid(where), member: "no-such-word"}, where)


def _valid(where: str) -> Mapping[str, Any]:
    (shown,) = _shown(Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW, Code.CONNECT)).values()
    told = {"id": "models/a", "status": "paused"}
    valid: Mapping[str, Mapping[str, Any]] = {"Download": shown, "Progress": told, "Event": {"data": ""}}
    return valid[where]


def _shown(*found: Any) -> Mapping[str, Any]:
    return items("downloads", view(status(desired(model("a")), observed(gone("a", part=3), *found))))


@pytest.mark.parametrize("state", JobState)
def test_a_download_is_shown_as_it_is_described(state: JobState) -> None:
    for item in _shown(Job(digest("a"), JobKind.FETCH, state, 1, NOW, next_attempt_at=NOW)).values():
        check(item, "Download")
        assert item.keys() == SCHEMAS["Download"]["properties"].keys()


def test_what_runs_and_what_has_no_job_is_shown_as_it_is_described() -> None:
    moving = view(status(desired(model("a")), observed(gone("a"))), replace(running("a", 4), bytes_per_s=2.5))
    left = view(status(found=observed(gone("left", part=7))))
    for seen in (moving, left):
        check({"rev": 1, "items": items("downloads", seen)}, "Downloads")


@pytest.mark.parametrize("happening", Happening)
def test_what_happens_to_a_job_is_told_as_it_is_described(happening: Happening) -> None:
    spec = JobSpec(JobKind.FETCH, digest("a"), ("models/a", "models/b"), 100, (web("a"),))
    for code in TABLE[happening].codes or (None,):
        job = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW, code, "why", NOW, corr_id="c")
        for event in told_of(spec, job, happening):
            check(event.payload, "Progress")


def test_progress_is_told_as_it_is_described() -> None:
    blocks = Blocks(Extras(budget=True, disk=True), Budgets(), 10**9)
    (event,) = progress_events(running("a", 40), "c", blocks)
    check(event.payload, "Progress")
    assert event.payload.keys() - SCHEMAS["Progress"]["properties"].keys() == {"budget", "disk"}
