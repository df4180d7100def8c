"""What a manifest may say about how a node works: downloads, pruning, the network and the schedule.

A part of the table in `fields.py`, which puts these sections into the document.
"""

from __future__ import annotations

from enum import StrEnum

from reconciler.manifest.occasions import CRON, INTERVAL, TIMEZONE, WEEKDAYS, WINDOW
from reconciler.manifest.scalars import (
    BOOLEAN,
    BYTES_PER_SECOND,
    DURATION,
    HOST_RULE,
    POSITIVE_DURATION,
    POSITIVE_SHARE,
    POSITIVE_SIZE,
    SHARE,
    SIZE,
    TEXT,
    choice,
    integer,
    whole_number,
)
from reconciler.manifest.shapes import Group, GroupList, ListType, fields, group, groups, scalar, several


class PruneMode(StrEnum):
    """Which bytes are garbage."""

    ORPHANS = "orphans"


MAX = scalar("max", integer(1), "Downloads that run at once.", default=2)
HARD_CAP = scalar("hard_cap", integer(1), "What `max` can never exceed.", default=16)
PER_HOST = scalar("per_host", integer(1), "Downloads from one host, whatever its port, that run at once.", default=4)
BANDWIDTH = scalar(
    "bandwidth",
    BYTES_PER_SECOND,
    "The most that all downloads together take in a second, written without `/s`; default: whatever there is.",
    examples=("200MiB",),
)
CONCURRENCY = group(
    "concurrency",
    Group("Download limits", fields(MAX, HARD_CAP, PER_HOST, BANDWIDTH)),
    "How much is downloaded at once.",
)

SOFT = scalar(
    "soft",
    POSITIVE_DURATION,
    "How long a download is expected to take, from its admission on; default: no limit.",
    examples=("30m",),
)
HARD = scalar(
    "hard",
    POSITIVE_DURATION,
    "How long a download may take, from its admission on, before it is given up; default: no limit.",
    examples=("6h",),
)
DEGRADE_AT = scalar(
    "degrade_at", POSITIVE_SHARE, "The share of `soft` after which a download is called degraded, once.", default="80%"
)
MAX_SIZE = scalar(
    "max_size", POSITIVE_SIZE, "The largest file that is downloaded; default: no limit.", examples=("100GiB",)
)
QUOTA = scalar(
    "quota",
    POSITIVE_SIZE,
    "The most that the store may hold, quarantine and unfinished downloads included; default: no limit.",
    examples=("2TiB",),
)
RESERVE = scalar("reserve", SIZE, "What downloads leave free on the disk.", default="256MiB")
BUDGETS = group(
    "budgets",
    Group("Download budgets", fields(SOFT, HARD, DEGRADE_AT, MAX_SIZE, QUOTA, RESERVE)),
    "What a download may take: time, and space in the store.",
)

MODE = scalar(
    "mode",
    choice(PruneMode, later=("lru", "quota")),
    "Which bytes are garbage: orphans, those that nothing names.",
    default="orphans",
)
TTL = scalar("ttl", DURATION, "How long bytes stay after nothing names them any more.", default="24h")
QUARANTINE = scalar("quarantine", DURATION, "How long they can then be undeleted.", default="7d")
KEEP = scalar("keep", integer(0), "Previous versions kept of each model that is still declared.", default=0)
DELETE_SHARE = scalar(
    "share",
    SHARE,
    "The largest share of all blobs that one run deletes without confirmation, from 10 blobs up.",
    default="30%",
)
DELETE_BYTES = scalar("bytes", SIZE, "The most bytes that one run deletes without confirmation.", examples=("200GiB",))
MAX_DELETE = group(
    "max_delete", Group("Deletion limits", fields(DELETE_SHARE, DELETE_BYTES)), "More than this needs a person."
)
PRUNING = group(
    "pruning",
    Group("Garbage collection", fields(MODE, TTL, QUARANTINE, KEEP, MAX_DELETE), later=("quota", "min_free")),
    "When bytes that nothing names are removed.",
)

PROVIDER = scalar("provider", TEXT, "Who it comes from; default: the scheme of the first source.")
LABELS = several("labels", ListType(TEXT), "Words to find it by.", examples=(["chat", "code"],))
MAX_SEGMENTS = 16
# Each is a connection and a thread; more from one host is rudeness, and servers treat it so.
SEGMENTS = scalar(
    "segments",
    whole_number(1, MAX_SEGMENTS, "1 downloads every file in one piece"),
    "Ranges of one file that are downloaded at once, 1 for never; default: as many as pay, for large files and where "
    "the server supports ranges.",
    examples=(4,),
)
RETRIES = scalar(
    "retries",
    integer(0),
    "Further tries in a row at a source that bring nothing new, before the next source; 1 MiB of progress renews them.",
    default=2,
)
IDLE_TIMEOUT = scalar("idle_timeout", DURATION, "The longest silence of a server; 0 means no limit.", default="300s")
DEFAULTS = group(
    "defaults",
    Group("What models inherit", fields(PROVIDER, LABELS, SEGMENTS, RETRIES, IDLE_TIMEOUT)),
    "What holds for every model that does not say otherwise.",
)

ALLOW = several(
    "allow",
    ListType(HOST_RULE),
    "The only hosts that may be talked to: HOST, HOST:PORT or *.HOST. Absent: any.",
    examples=(["huggingface.co", "*.hf.co"],),
)
ALLOW_HTTP = scalar("allow_http", BOOLEAN, "Whether plain http is allowed.", default=False)
ALLOW_PRIVATE = scalar(
    "allow_private", BOOLEAN, "Whether private, loopback and link-local addresses are allowed.", default=False
)
EGRESS = group(
    "egress", Group("Network rules", fields(ALLOW, ALLOW_HTTP, ALLOW_PRIVATE)), "Which hosts may be talked to, and how."
)

RECONCILE = scalar("reconcile", INTERVAL, "How often `serve` looks whether something changed.", default="5m")
PRUNE = scalar(
    "prune",
    CRON,
    "When `serve` deletes what its time has come for, as a cron expression with weekday names; default: at once.",
    examples=("30 3 * * sun",),
)
VERIFY = scalar(
    "verify",
    CRON,
    "When `serve` hashes every blob again, as a cron expression with weekday names; default: never.",
    examples=("0 4 1 * *",),
)
WINDOW_TIMES = scalar(
    "window",
    WINDOW,
    "From when until when, in the time zone of the schedule; the end may lie on the next day.",
    required=True,
    examples=("22:00-06:00", "00:00-24:00"),
)
WINDOW_DAYS = scalar(
    "days",
    WEEKDAYS,
    "The days on which it opens: names, ranges of them, or several of both; default: every day.",
    examples=("mon-fri", "sat,sun"),
)
DOWNLOADS = groups(
    "downloads",
    GroupList(Group("A time for downloads", fields(WINDOW_TIMES, WINDOW_DAYS))),
    "When downloads over the network may run; none: always.",
)
ZONE = scalar("timezone", TIMEZONE, "The time zone of all these, by its IANA name.", default="UTC")
SCHEDULE = group(
    "schedule",
    Group("When something happens", fields(RECONCILE, PRUNE, VERIFY, DOWNLOADS, ZONE)),
    "When `serve` looks, prunes and verifies by itself, and when downloads may run.",
)
