"""What every command is given: the terminal, and the program behind it, loaded when it is needed.

`reconcile --help` must not pay for what it does not use: pydantic, ruamel.yaml, httpx and the core
values together take longer to import than the help takes to print. So this module imports none of
them; `Context` does, on demand.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from reconciler.cli.terminal import Terminal

if TYPE_CHECKING:
    from reconciler.assembly import Downloads, Observer, RunOptions, SchemaName, ServeOptions, Service, VerifyReport
    from reconciler.core.digest import Digest
    from reconciler.core.event import Event, EventId
    from reconciler.core.history import HistoryRow, LedgerRow
    from reconciler.core.observed import ObservedState
    from reconciler.core.report import Diagnostic, Exit, RunReport
    from reconciler.core.snapshot import RegistrySnapshot
    from reconciler.loop.down import TakenDown
    from reconciler.loop.steering import Decision, Deed
    from reconciler.plan.needs import Need
    from reconciler.settings import Settings


class UsageError(Exception):
    """The command line is wrong: exit 64."""

    def __init__(self, message: str, *, reason: str = "Usage", hint: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.hint = hint


class Terminated(BaseException):
    """SIGTERM came: like KeyboardInterrupt, nothing but the end of the program handles it."""


class Assembly(Protocol):
    """What the commands ask of `reconciler.assembly`."""

    def run(self, settings: Settings, options: RunOptions, observer: Observer) -> RunReport:
        """Converge, or plan only."""
        ...

    def plan_against(self, settings: Settings, options: RunOptions, observer: Observer) -> RunReport:
        """Plan for the node at `options.against`."""
        ...

    def validate(
        self, settings: Settings, paths: tuple[str, ...]
    ) -> tuple[tuple[Diagnostic, ...], tuple[str, ...], int]:
        """(errors, warnings, number of documents)."""
        ...

    def read_registry(self, settings: Settings) -> RegistrySnapshot:
        """The registry at this instant, without the writer lock."""
        ...

    def read_history(self, settings: Settings, limit: int) -> tuple[HistoryRow, ...]:
        """The newest rows, newest first."""
        ...

    def read_ledger(self, settings: Settings, limit: int) -> tuple[LedgerRow, ...]:
        """The newest requests to other hosts, newest first."""
        ...

    def read_subjects(self, settings: Settings, corr_ids: Iterable[str]) -> Mapping[str, str]:
        """What the jobs with these ids were for."""
        ...

    def read_events(
        self, settings: Settings, after: EventId | None, prefixes: tuple[str, ...], limit: int
    ) -> tuple[Event, ...]:
        """Journaled events, oldest first."""
        ...

    def observe_now(self, settings: Settings) -> ObservedState:
        """What is really there."""
        ...

    def read_downloads(self, settings: Settings, watch_s: float = 0.0) -> Downloads:
        """Jobs, partial downloads, and what wants them; those that run are watched for `watch_s`."""
        ...

    def read_needs(self, settings: Settings) -> Mapping[Digest, Need]:
        """What the last accepted manifests want."""
        ...

    def pin(self, settings: Settings, subject: str, remove: bool) -> str:
        """What was pinned or unpinned, in words."""
        ...

    def undelete(self, settings: Settings, subject: str, observer: Observer) -> tuple[str, RunReport | None]:
        """What will be restored, in words, and the run that did it."""
        ...

    def steer(self, settings: Settings, deed: Deed, subject: str, reason: str) -> Decision:
        """What an operator decided, durable."""
        ...

    def down(self, settings: Settings, reason: str, timeout_s: float, observer: Observer) -> tuple[Decision, TakenDown]:
        """What was decided, and what became of the processes of slots."""
        ...

    def verify(self, settings: Settings, subjects: tuple[str, ...], observer: Observer) -> VerifyReport:
        """What a re-hash of the blobs found."""
        ...

    def serve(self, settings: Settings, options: ServeOptions, service: Service) -> Exit:
        """Converge until a signal ends it; the exit code."""
        ...

    def schema(self, what: SchemaName) -> str:
        """The JSON Schema of it."""
        ...


def load_assembly() -> Assembly:
    """The real program."""
    return cast("Assembly", importlib.import_module("reconciler.assembly"))


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one command."""

    terminal: Terminal
    argv: tuple[str, ...] = ()
    """The command line that is running."""
    assembly: Callable[[], Assembly] = load_assembly

    def settings(self, **options: object) -> Settings:
        """The node's settings; `options` that are None were not given."""
        module = importlib.import_module("reconciler.settings")
        settings: Settings = module.load_settings({name: value for name, value in options.items() if value is not None})
        return settings
