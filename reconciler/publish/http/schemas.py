"""The schemas of the OpenAPI document. What is one enum in the code is one schema, made from that enum."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from reconciler.core.event import Topic
from reconciler.core.job import Code, JobKind, JobState
from reconciler.core.job import Status as DownloadStatus

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _whole(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": description}


def _nullable(kind: str, description: str) -> Schema:
    return {"type": [kind, "null"], "description": description}


def schema(name: str) -> Schema:
    """A reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas_of(read_model: str) -> tuple[Schema, Schema]:
    """References to the schemas of a read model's document and of its items."""
    if read_model == "downloads":
        return schema("Downloads"), schema("Download")
    return schema("Document"), schema("Item")


def _one_of_enum(values: type[StrEnum], description: str) -> Schema:
    return {"type": "string", "enum": [each.value for each in values], "description": description}


def _or_null(name: str) -> Schema:
    return {"anyOf": [schema(name), {"type": "null"}]}


ENUMS: dict[str, Schema] = {
    "JobKind": _one_of_enum(JobKind, "what a job does with its digest"),
    "JobState": _one_of_enum(JobState, "where a job stands"),
    "DownloadStatus": _one_of_enum(DownloadStatus, "what a `models.download.progress` event reports"),
    "Code": _one_of_enum(Code, "why a job or an action is where it is"),
    "Topic": _one_of_enum(Topic, "what an event is about"),
}

DOWNLOADS: dict[str, Schema] = {
    "Download": _object(
        ("sha256", "kind", "for", "wanted", "position", "inflight", "state", "code", "done_bytes", "total_bytes"),
        sha256=_text("what the job, or the partial download, is of"),
        kind=_or_null("JobKind"),
        **{"for": {"type": "array", "items": TEXT, "description": "the models and adapters that want it"}},
        wanted={"type": "boolean", "description": "whether a manifest names the digest"},
        sources={"type": "array", "items": TEXT, "description": "where from, redacted, in order"},
        position=_nullable("integer", "in the queue, counted from 1; null but for the nearest"),
        inflight={"type": "boolean", "description": "whether it runs"},
        state={**_or_null("JobState"), "description": "null for a partial download without a job"},
        attempts=_whole("how often it was tried"),
        code={**_or_null("Code"), "description": "why it is there"},
        message=_text("the same in words"),
        next_attempt_at=_nullable("string", "when it is tried again"),
        updated_at=_nullable("string", "when the job was last recorded"),
        corr_id=_text("the same for everything that belongs to one job"),
        source=_nullable("string", "of a running job: where the bytes come from, redacted"),
        done_bytes=_whole("so many bytes are there"),
        total_bytes=_nullable("integer", "of how many; null where the size is unknown"),
        percent=_nullable("number", "how much that is, 0 to 100"),
        eta_s=_nullable("integer", "how long the rest takes"),
        bytes_per_s=_nullable("integer", "of a running job"),
        spent_s=_nullable("integer", "of a running job: since its admission"),
        part=_nullable("object", "what lies on disk, as the last pass saw it"),
    ),
    "Downloads": {
        "allOf": [schema("Document")],
        "properties": {"items": {"additionalProperties": schema("Download")}},
    },
    "Progress": _object(
        ("id", "status"),
        id=_text("the object, such as `models/qwen`"),
        status=schema("DownloadStatus"),
        kind=schema("JobKind"),
        corr_id=_text("the same for everything that belongs to one job"),
        sha256=_text("what is fetched"),
        primary=_text("of a follower: the object that the job was started for"),
        code=schema("Code"),
        error=_text("the same in words"),
        next_attempt_at=_text("when it is tried again"),
        bytes=_whole("so many bytes are there"),
        downloaded=_whole("the same"),
        total=_whole("of how many; left out where the size is unknown"),
        percent={"type": "number", "description": "how much that is, 0 to 100"},
        url=_nullable("string", "where from, redacted"),
        cached={"type": "boolean", "description": "when complete: whether nothing had to be fetched"},
    ),
}


SCHEMAS: dict[str, Schema] = {
    "Problem": _object(
        ("type", "title", "status", "detail", "reason"),
        type={**_text("nothing more is said"), "format": "uri-reference", "const": "about:blank"},
        title=_text("the phrase of the status"),
        status={"type": "integer", "description": "as in the first line of the answer"},
        detail=_text("what is wrong, for people"),
        reason=_text("what is wrong, for programs: a CamelCase constant"),
        hint=_text("what to do about it"),
        reasons={
            "type": "array",
            "description": "of a probe: everything that is wrong",
            "items": _object(("reason", "message"), reason=TEXT, message=TEXT),
        },
    ),
    "Item": {"type": "object", "additionalProperties": True},
    "Document": {
        **_object(
            ("rev", "items"),
            rev={"type": "integer", "description": "the number of the patch that led here; opaque"},
            items={
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/Item"},
                "description": "the items by their id",
            },
        ),
        "additionalProperties": False,
    },
    "Page": _object(
        (
            "rev",
            "items",
            "total",
            "count",
            "limit",
            "offset",
            "prev_offset",
            "next_offset",
            "page",
            "pages",
            "last_offset",
        ),
        rev={"type": "integer", "description": "of the document that it is a page of; opaque"},
        items={"type": "array", "items": {"$ref": "#/components/schemas/Item"}, "description": "in order"},
        total=_whole("rows on all pages"),
        count=_whole("rows on this page"),
        limit=_whole("rows of a full page"),
        offset=_whole("rows before this page"),
        prev_offset={"type": ["integer", "null"], "description": "null on the first page"},
        next_offset={"type": ["integer", "null"], "description": "null on the last page"},
        page=_whole("counted from 1; 0 if there is none"),
        pages=_whole("how many there are"),
        last_offset=_whole("where the last page begins"),
    ),
    "Event": {
        **_object(
            ("data",),
            id=_text("`<epoch>-<seq>`; only grows"),
            event=schema("Topic"),
            data={
                "type": "string",
                "contentMediaType": "application/json",
                "description": "the payload of the topic",
            },
            retry={"type": "integer", "description": "milliseconds until a reconnect"},
        ),
        "if": {"required": ["event"], "properties": {"event": {"const": Topic.DOWNLOAD_PROGRESS.value}}},
        "then": {"properties": {"data": {"contentSchema": schema("Progress")}}},
    },
    "Well": _object(("status",), status={"const": "ok"}),
    **ENUMS,
    **DOWNLOADS,
}
