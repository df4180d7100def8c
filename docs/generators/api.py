"""The page of the HTTP API: from the OpenAPI document that a node serves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from generators.markdown import code, document, table

from reconciler.clock import SystemClock
from reconciler.core.transfers import Concurrency, Figures
from reconciler.publish.http.app import make_routes
from reconciler.publish.http.hash_routes import PAGING
from reconciler.publish.http.openapi import describe
from reconciler.publish.http.schemas import SCHEMAS
from reconciler.publish.http.sources import Sources
from reconciler.publish.http.sse import Readers
from reconciler.publish.machine import Machine
from reconciler.publish.metrics import Metrics, Probes
from reconciler.publish.publisher import open_publisher
from reconciler.publish.read_models import READ_MODELS
from reconciler.registry.sqlite import SqliteRegistry

INTRODUCTION = """\
`reconcile serve` offers it on 127.0.0.1:8470 unless `RECONCILER_LISTEN` says otherwise. It is read-only: GET and HEAD.
A node serves this description as an OpenAPI 3.1 document at `/openapi.json`, with every state, status, code and topic
as an enum: `JobKind`, `JobState`, `DownloadStatus`, `Code`, `Topic`.
"""

RULES = """\
- `rev` and entity tags are opaque: compare them for equality only. A restart of the node changes all of them.
- `ETag` is strong; `If-None-Match` gives 304. `?wait=30s&since=<rev>` answers as soon as the document has another
  revision, or 304 when the time is over; `wait` with `If-None-Match` does the same. At most 300 s.
- Times are RFC 3339 in UTC, sizes are bytes, digests are SHA-256 in hexadecimal.
- An unknown query parameter is refused, not ignored.
- Nothing is sent for pages of other hosts: there are no CORS headers, and an `Origin` of another host gets 403.
- The `Host` must be a loopback name or address, the address the node listens on, or one of `RECONCILER_API_HOSTS`; else
  403. A node that listens on all addresses knows every address, but no other name.
- With `RECONCILER_API_TOKEN` everything but `/healthz` and `/readyz` needs `Authorization: Bearer <token>`, else 401;
  never put it into the query. Without it, `serve` refuses to start on an address that other machines reach.
"""

DOWNLOADS = """\
`downloads` has an item for every digest that a job or a partial download is of.

- `state` is null for a partial download without a job. `wanted` says whether a manifest names the digest, `for` by
  which models and adapters: the first is the one that the job was begun for. `inflight` is true while it runs.
- `position` is the place in the queue, counted from 1, of the first 100; null for all others.
- `done_bytes`, `total_bytes` and `percent`; the last two are null where the size is unknown. `bytes_per_s` and
  `spent_s` (since its admission) are of running jobs. `eta_s` is how long the rest takes at its own rate, else at that
  of earlier downloads; null where neither is known, or where nothing comes any more.
- `part` is what lies on disk, as the last pass saw it: `{bytes, modified_at}`. `reconcile cancel DIGEST` removes it.
"""

FIGURES = """\
Counters begin at 0 when the node starts. A job counts once, however many objects want its digest. Jobs of the kind
`verify` bring nothing: of the counters they are only in `queued`.
"""

METRICS_ITEMS = (
    (
        "`counters`",
        "`started`, `admitted`, `resumed`, `canceled`, `completed`, `completed_cached` (nothing had to be fetched, as "
        "by `adopt-hash`; not among `completed`), `errors`, `bytes_total` (received from other hosts), `preflight_ok`, "
        "`preflight_denied`, `preflight_skipped`, `coalesced` (an object joined the job of another); `queued` is how "
        "many wait now; `ewma_mbps` is the throughput of downloads of 16 MiB or more in MiB/s, smoothed and kept over "
        "restarts, null before the first",
    ),
    (
        "`concurrency`",
        "`configured_max` (`max`, but never above `hard_cap`), `available_permits`, `held_permits`, `hard_cap`, "
        "`pending_shrink` (how many more run than a smaller limit allows, else null)",
    ),
    ("`jobs`", "each running job by digest: `id`, `kind`, `state`, `url` (redacted), `corr_id`"),
    ("`inflight`", "who shares each running job, by digest: `primary`, `followers`, `count`"),
    (
        "`runtime`",
        "what holds where a manifest says nothing else: `idle_timeout_secs` (left out without a limit), "
        "`send_retries` and `stream_retries` (both are `retries`, which counts them together), `retry_backoff_ms` (the "
        "first pause; the next ones are longer), `preflight_enabled`",
    ),
    ("`states`", "jobs by state"),
    ("`running`", "`done_bytes` and `total_bytes` of all running jobs; the total is null if one is unknown"),
    ("`requests`", "attempts to reach another host: `total`, `denied`"),
    ("`objects`", "`models`, `adapters` and `slots` that are declared; objects that are `ready` and `not_ready`"),
)

PAGES = """\
`/state/models_hashes` is a document like the others, to which patches apply. With `limit`, `offset`, `provider`,
`model`, `sort` or `order` it answers with one page instead: `items` is a list in order, and rows that are equal stand
in the order of their digests. A page has an `ETag` of its own and can't be waited for; `rev` is that of the document.

Begin at 0 and follow `next_offset` until it is null. An `offset` behind the last page gives the last page; one that is
no multiple of `limit` belongs to the page on which it falls, so it may have no `prev_offset` though rows come before.

`path` is where the bytes lie, or will lie, relative to the store; `present` says whether they do. `bytes` is what lies
there, else what a manifest declares. An unknown size is null and the smallest of all.
"""

PROBES = """\
`/healthz` is 503 when only a restart can help: no pass has ended for three times `schedule.reconcile` and a minute, or
the publisher has stopped. `/readyz` is 503 then too, and before the first pass has ended, while the last pass failed,
and while the store is missing. The problem lists every reason in `reasons`.
"""


def page() -> str:
    """The whole page."""
    description = openapi()
    return document(
        "HTTP API",
        INTRODUCTION.strip(),
        "## Paths",
        table(("path", "what", "answers"), _paths(description)),
        "## Rules",
        RULES.strip(),
        "## Read models",
        "Each is `{rev, items}`; an item is at `/state/<read model>/<id>`. See [how to follow "
        "them](../guides/subscribe-to-changes.md) and [events](events.md).",
        table(("read model", "items"), ((code(model.name), model.description) for model in READ_MODELS)),
        "## Downloads",
        DOWNLOADS.strip(),
        "## Figures",
        FIGURES.strip(),
        table(("item of `models_metrics`", "what it holds"), METRICS_ITEMS),
        "## Pages",
        PAGES.strip(),
        table(("member", "meaning"), _members("Page")),
        "## Parameters",
        table(("parameter", "in", "of", "meaning"), _parameters(description)),
        "## Problems",
        "Every refusal is `application/problem+json` (RFC 9457). `type` is always `about:blank`; `reason` tells "
        "problems of one status apart.",
        table(("member", "meaning"), _members("Problem")),
        "## Probes",
        PROBES.strip(),
        "## Metrics",
        "What `/metrics` has, in Prometheus' text format.",
        table(("name", "type", "meaning"), _metrics()),
    )


def openapi() -> dict[str, Any]:
    """The document that a node serves, with the name of the version left out."""
    with _sources() as sources:
        return describe(make_routes(sources, "0"))


@contextmanager
def _sources() -> Iterator[Sources]:
    """What routes are made from, on an empty registry."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        registry = SqliteRegistry(Path(folder) / "registry.sqlite3", clock)
        publisher = open_publisher(registry, clock, _Idle(), Machine())
        stream = publisher.stream
        metrics = Metrics("0", registry, stream.head, Probes(lambda: 0, lambda: 0, _Idle().figures))
        yield Sources(publisher.documents, stream, metrics, Readers(0), _Well())
        registry.close()


class _Idle:
    def progress(self) -> tuple[()]:
        return ()

    def figures(self) -> Figures:
        return Figures(Concurrency(2, 2, 0, 16))


class _Well:
    def unhealthy(self) -> tuple[()]:
        return ()

    def unready(self) -> tuple[()]:
        return ()


def _paths(description: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path, operations in description["paths"].items():
        if path.startswith("/state/") and "metadata" not in path:
            continue
        operation = operations["get"]
        yield code(path), operation["summary"], _statuses(operation)
    for suffix, what in (
        ("", "A read model: see below."),
        ("/{item_id}", "One item of it; the id may hold `:` and `/`."),
    ):
        example = description["paths"][f"/state/models{suffix}"]["get"]
        yield code("/state/{read model}" + suffix), what, _statuses(example)


def _statuses(operation: Mapping[str, Any]) -> str:
    return ", ".join(sorted(status for status in operation["responses"] if status != "default"))


def _parameters(description: Mapping[str, Any]) -> Iterable[tuple[str, str, str, str]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for path, operations in description["paths"].items():
        for parameter in operations["get"].get("parameters", ()):
            key = (parameter["name"], parameter["in"], parameter.get("description", ""))
            found.setdefault(key, []).append(path if parameter["name"] in PAGING else _family(path))
    for (name, place, meaning), paths in found.items():
        yield code(name), place, ", ".join(code(path) for path in dict.fromkeys(paths)), meaning


def _family(path: str) -> str:
    first, _, rest = path.removeprefix("/state/").partition("/")
    if not path.startswith("/state/") or "metadata" in path:
        return path
    return "/state/{read model}" + ("/{item_id}" if first and rest else "")


def _members(schema_name: str) -> Iterator[tuple[str, str]]:
    for name, schema in SCHEMAS[schema_name]["properties"].items():
        yield code(name), schema.get("description", "")


def _metrics() -> Iterator[tuple[str, str, str]]:
    with _sources() as sources:
        lines = sources.metrics.render().decode().splitlines()
    helps = [line.split(maxsplit=3)[2:] for line in lines if line.startswith("# HELP")]
    kinds = dict(line.split(maxsplit=3)[2:] for line in lines if line.startswith("# TYPE"))
    for name, meaning in sorted(helps):
        yield code(name), kinds[name], meaning
