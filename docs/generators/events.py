"""The page of events: from the topics, and what is said of payloads here."""

from __future__ import annotations

from generators.markdown import code, document, table
from generators.source import member_docs

from reconciler.core.event import Topic
from reconciler.publish.http.event_routes import MAX_PREFIXES, MAX_REPLAY
from reconciler.publish.http.sse import HEARTBEAT_S, RETRY_MS
from reconciler.publish.stream import MEMORY_TOPICS, ResyncReason

WIRE = f"""\
```text
id: 0a1b2c3d-4711
event: state.read.model.patch
data: {{"id":"models","base_rev":4690,"rev":4711,"patch":[{{"op":"add","path":"/items/qwen","value":{{…}}}}]}}
```

- `id` is `<epoch>-<seq>`. Ids only grow; some are never used. The epoch is made with the node's database.
- `retry` asks clients to come back after {RETRY_MS} ms. After {HEARTBEAT_S:.0f} s of silence a comment is sent, with
  the newest id.
- `?prefix=` keeps only topics that begin so; up to {MAX_PREFIXES} of them. `?replay=N` begins with the newest N events
  that are remembered, at most {MAX_REPLAY}. `Last-Event-ID`, or `?after=`, goes on behind that event.
- A stream without `after` begins with `service.connected`. Both it and `resync` pass every filter, except
  `PatchTooLarge`, which stands for a patch and is filtered like one.
- Durable topics are kept for a week and survive a restart; the others live in memory. When what a client missed is
  gone, it gets one `resync` and goes on with what happens now. Nothing is ever left out silently.
"""

PAYLOADS: dict[Topic, tuple[str, dict[str, str]]] = {
    Topic.DOWNLOAD_PROGRESS: (
        "A job is in another state (durable) or has moved (in memory). Told to each object that wants the bytes.",
        {
            "id": "the object, such as `models/qwen`",
            "status": "see [event statuses](exit-codes-and-jobs.md#event-statuses)",
            "kind": "`fetch`, `adopt-hash` or `verify`",
            "corr_id": "the same for everything that belongs to one job",
            "sha256": "what is fetched",
            "primary": "of a follower: the object that the job was started for",
            "code": "why; see [codes](exit-codes-and-jobs.md#codes)",
            "error": "the same in words",
            "next_attempt_at": "when it is tried again",
            "bytes, downloaded": "so many bytes are there, those of earlier attempts among them; both are the same",
            "total, percent": "of how many, and how much that is, 0 to 100; left out where the size is unknown",
            "url": "where from, redacted",
            "cached": "when complete: whether nothing had to be fetched",
            "budget": "of downloads, in all but what `cancel` itself says, with `RECONCILER_PROGRESS_BUDGET`: "
            "`{soft_ms, hard_ms, elapsed_ms, soft_remaining_ms, hard_remaining_ms, state}`; what remains is below zero "
            "once it is over, and null without a limit; `state` is `ok`, `soft_exceeded` or `hard_exceeded`",
            "disk": "the same, with `RECONCILER_PROGRESS_DISK`: `{reserve, available, need}` in bytes; "
            "`available` is free space as last measured, or null; `need` is left out where the size is unknown",
        },
    ),
    Topic.MODELS_CHANGED: (
        "A model was registered, changed or removed.",
        {
            "op": "`written` or `removed`",
            "id": "the model",
            "reason": "why, as the plan says it",
            "generation": "its files, as one digest",
        },
    ),
    Topic.ADAPTERS_CHANGED: ("The same for an adapter.", {"…": "as in `models.changed`"}),
    Topic.MANIFEST_WRITTEN: (
        "The model record on disk was written.",
        {"id": "the model", "generation": "its files, as one digest"},
    ),
    Topic.CAS_GC: (
        "A blob was quarantined, reclaimed or restored.",
        {
            "op": "`quarantined`, `reclaimed`, …",
            "sha256": "the blob",
            "bytes": "its size; null where it is unknown",
            "reason": "why",
        },
    ),
    Topic.SLOTS_CHANGED: (
        "Something was done to a slot.",
        {
            "op": "`switched`, `started`, `restarted`, `promoted`, `rolled-back`, `rescaled`, `routed`, "
            "`moved`, `removed`, …",
            "id": "the slot",
            "model": "what it serves then",
            "launch_id": "the process that was started, promoted or routed to",
            "reason": "why, where it is not obvious",
            "port": "when routed: the stable port",
            "from": "when moved: the old name",
        },
    ),
    Topic.PLAN_CHANGED: (
        "The figures of the plan are others.",
        {
            "fingerprint": "of what the plan was made from",
            "confirm_prune": "what would confirm the withheld deletions, or null",
            "summary": "as in the plan document, without free space",
            "wake_at": "when something is due by itself, or null",
        },
    ),
    Topic.CONDITIONS_CHANGED: (
        "The status or reason of a condition is another.",
        {"object, type, status, reason, message": "the condition; see [conditions](conditions-and-reasons.md)"},
    ),
    Topic.EGRESS_PREVIEW: (
        "A job turns to a source: what the egress policy says of it, before a name is resolved or a request made. Told "
        "to each object that wants the bytes.",
        {
            "id": "the object, such as `models/qwen`",
            "url": "what will be asked, redacted",
            "provider": "the source's scheme, such as `hf`",
            "dest": "`{host, port, protocol}`",
            "corr_id": "the job; its requests are in the ledger under the same one",
            "posture": "of the policy: `off`, `public`, `allowlist` or `custom`",
            "allow": "whether the request may be made; a name that leads to a private address is still refused then",
            "reason": "if not: `scheme`, `allowlist`, `port` or `ip_literal`",
        },
    ),
    Topic.EGRESS_LEDGER: (
        "An attempt to reach another host has ended. The payload is a row of the ledger, as "
        "`schemas/egress_ledger.schema.json` says.",
        {
            "time": "when it was over",
            "decision": "`allow` or `deny`",
            "reason_code": "what it was for, or what went wrong",
            "posture": "of the policy that decided: `off`, `public`, `allowlist` or `custom`",
            "project_id": "`RECONCILER_PROJECT_ID`",
            "dest": "`{host, ip, sni, port, protocol}`; without `ip` there was no connection, "
            "without `sni` no name was sent",
            "bytes_in": "of the body, received",
            "bytes_out": "of the request, sent",
            "duration_ms": "how long it took",
            "tool_id": "what it was for, such as `models.download`",
            "corr_id": "the job it was made for",
            "error": "why it was denied or failed",
        },
    ),
    Topic.CONCURRENCY_CHANGED: (
        "The limits of downloads are others, or how many run above them.",
        {
            "configured_max": "how many permits there are: `max`, but never above `hard_cap`",
            "available_permits": "how many jobs can start",
            "held_permits": "how many run, at most `configured_max`",
            "hard_cap, per_host": "as declared",
            "pending_shrink": "how many more run than a smaller limit allows, or null; none of them is stopped",
        },
    ),
    Topic.PATCH: (
        "A read model has changed: RFC 6902, for the document that has `base_rev`.",
        {
            "id": "the read model",
            "base_rev": "the `rev` that the patch fits",
            "rev": "the `rev` after it; set it yourself, the patch does not",
            "patch": "operations on `{items}`; list values are replaced whole",
        },
    ),
    Topic.CONNECTED: (
        "The stream begins.",
        {
            "id": "an id to go on from even if nothing follows",
            "replay, prefixes": "what was asked for",
            "revs": "the `rev` of every read model at this moment",
        },
    ),
    Topic.RESYNC: (
        "Events are gone that this client has not got: take new snapshots.",
        {
            "reason": "see below",
            "after": "what the client had read last",
            "revs": "the `rev` of every read model at this moment",
            "id, base_rev, rev": "only with `PatchTooLarge`: the one read model to read again",
        },
    ),
}


def page() -> str:
    """The whole page."""
    missing = [topic for topic in Topic if topic not in PAYLOADS]
    assert not missing, f"say in {__name__} what the payload is of: {missing}"
    reasons = member_docs(ResyncReason)
    blocks = [block for topic in Topic for block in _topic(topic)]
    return document(
        "Events",
        "`GET /events` is a stream of server-sent events. See [how to follow "
        "changes](../guides/subscribe-to-changes.md).",
        "## On the wire",
        WIRE.strip(),
        "## Topics",
        table(("topic", "kept", "when"), ((code(t), _kept(t), PAYLOADS[t][0]) for t in Topic)),
        *blocks,
        "## Reasons of resync",
        table(("reason", "meaning"), ((code(reason), reasons[reason.name]) for reason in ResyncReason)),
    )


def _topic(topic: Topic) -> tuple[str, str]:
    fields = PAYLOADS[topic][1]
    return f"### {topic}", table(("member", "meaning"), ((_names(names), text) for names, text in fields.items()))


def _names(names: str) -> str:
    return names if names == "…" else ", ".join(code(name) for name in names.split(", "))


def _kept(topic: Topic) -> str:
    if topic in (Topic.CONNECTED, Topic.RESYNC):
        return "no"
    if topic is Topic.DOWNLOAD_PROGRESS:
        return "states: durable; progress: in memory"
    return "in memory" if topic in MEMORY_TOPICS else "durable"
