"""The composition root: builds the backends, takes the lock, runs, and puts everything away again."""

from __future__ import annotations

from reconciler.assembly.converge import RunOptions, run
from reconciler.assembly.late import plan_against, serve
from reconciler.assembly.look import (
    Downloads,
    SchemaName,
    observe_now,
    read_downloads,
    read_events,
    read_history,
    read_ledger,
    read_needs,
    read_registry,
    read_subjects,
    schema,
    validate,
)
from reconciler.assembly.operate import down, pin, steer, undelete, verify
from reconciler.assembly.service import ServeOptions, Service
from reconciler.loop.converge import Watcher as Observer
from reconciler.loop.scrub import VerifyReport

__all__ = [
    "Downloads",
    "Observer",
    "RunOptions",
    "SchemaName",
    "ServeOptions",
    "Service",
    "VerifyReport",
    "down",
    "observe_now",
    "pin",
    "plan_against",
    "read_downloads",
    "read_events",
    "read_history",
    "read_ledger",
    "read_needs",
    "read_registry",
    "read_subjects",
    "run",
    "schema",
    "serve",
    "steer",
    "undelete",
    "validate",
    "verify",
]
