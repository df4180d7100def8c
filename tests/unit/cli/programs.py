"""A program behind the command line that answers from memory and remembers what it was asked."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler import assembly
from reconciler.assembly import Downloads, Observer, RunOptions, SchemaName, ServeOptions, Service, VerifyReport
from reconciler.cli.main import main
from reconciler.cli.terminal import Terminal
from reconciler.core.digest import Digest
from reconciler.core.event import Event, EventId
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.observed import NodeFacts, ObservedState, StoreStatus
from reconciler.core.report import Diagnostic, Exit, RunReport
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.loop.down import TakenDown
from reconciler.loop.steering import Decision, Deed
from reconciler.plan.needs import Need
from reconciler.settings import Settings
from tests.unit.cli.plans import AT

ALL_INTACT = VerifyReport(0, 0, (), ())
DECIDED = Decision("node", "decided")
NOTHING_RAN = TakenDown((), ())
NOTHING_KNOWN = RegistrySnapshot(0, {}, {}, {}, {}, (), (), {})


@dataclass
class FakeProgram:
    """`reconciler.assembly`, in memory."""

    report: RunReport = field(default_factory=lambda: RunReport(Exit.OK))
    fails_with: BaseException | None = None
    problems: tuple[Diagnostic, ...] = ()
    snapshot: RegistrySnapshot = NOTHING_KNOWN
    observed: ObservedState = field(default_factory=lambda: ObservedState(NodeFacts(StoreStatus.READY)))
    downloads: Downloads = field(default_factory=lambda: Downloads({}, {}, {}, AT))
    needed: Mapping[Digest, Need] = field(default_factory=dict[Digest, Need])
    subjects: Mapping[str, str] = field(default_factory=dict[str, str])
    history: tuple[HistoryRow, ...] = ()
    ledger: tuple[LedgerRow, ...] = ()
    events: tuple[Event, ...] = ()
    verified: VerifyReport = ALL_INTACT
    decision: Decision = DECIDED
    taken_down: TakenDown = NOTHING_RAN
    settings: Settings | None = None
    options: RunOptions | None = None
    asked: tuple[object, ...] = ()

    def _enter(self, settings: Settings, *asked: object) -> None:
        self.settings, self.asked = settings, asked
        if self.fails_with is not None:
            raise self.fails_with

    def run(self, settings: Settings, options: RunOptions, observer: Observer) -> RunReport:
        self.options = options
        self._enter(settings)
        if self.report.plan:
            observer.planned(self.report.plan)
            actions = {action.id: action for action in self.report.plan.actions}
            for result in self.report.results:
                observer.acted(actions[result.id], result)
        return self.report

    def plan_against(self, settings: Settings, options: RunOptions, observer: Observer) -> RunReport:
        assert options.against is not None
        return self.run(settings, options, observer)

    def validate(
        self, settings: Settings, paths: tuple[str, ...]
    ) -> tuple[tuple[Diagnostic, ...], tuple[str, ...], int]:
        self._enter(settings, paths)
        return self.problems, ("careful",), 2

    def read_registry(self, settings: Settings) -> RegistrySnapshot:
        self._enter(settings)
        return self.snapshot

    def read_history(self, settings: Settings, limit: int) -> tuple[HistoryRow, ...]:
        self._enter(settings, limit)
        return self.history[:limit]

    def read_ledger(self, settings: Settings, limit: int) -> tuple[LedgerRow, ...]:
        self._enter(settings, limit)
        return self.ledger[:limit]

    def read_subjects(self, settings: Settings, corr_ids: Iterable[str]) -> Mapping[str, str]:
        self._enter(settings)
        return {corr_id: self.subjects[corr_id] for corr_id in corr_ids if corr_id in self.subjects}

    def read_events(
        self, settings: Settings, after: EventId | None, prefixes: tuple[str, ...], limit: int
    ) -> tuple[Event, ...]:
        self._enter(settings, after, prefixes, limit)
        return self.events

    def observe_now(self, settings: Settings) -> ObservedState:
        self._enter(settings)
        return self.observed

    def read_downloads(self, settings: Settings, watch_s: float = 0.0) -> Downloads:
        self._enter(settings)
        return replace(self.downloads, jobs=self.downloads.jobs or self.snapshot.jobs)

    def read_needs(self, settings: Settings) -> Mapping[Digest, Need]:
        self._enter(settings)
        return self.needed

    def pin(self, settings: Settings, subject: str, remove: bool) -> str:
        self._enter(settings, subject, remove)
        return f"{'unpinned' if remove else 'pinned'} {subject}"

    def undelete(self, settings: Settings, subject: str, observer: Observer) -> tuple[str, RunReport | None]:
        self._enter(settings, subject)
        return f"undeleting {subject}", self.report if self.report.plan else None

    def steer(self, settings: Settings, deed: Deed, subject: str, reason: str) -> Decision:
        self._enter(settings, deed, subject, reason)
        return self.decision

    def down(self, settings: Settings, reason: str, timeout_s: float, observer: Observer) -> tuple[Decision, TakenDown]:
        self._enter(settings, reason, timeout_s)
        return self.decision, self.taken_down

    def verify(self, settings: Settings, only: tuple[str, ...], observer: Observer) -> VerifyReport:
        self._enter(settings, only)
        return self.verified

    def serve(self, settings: Settings, options: ServeOptions, service: Service) -> Exit:
        self._enter(settings, options)
        return self.report.exit_code

    def schema(self, what: SchemaName) -> str:
        return assembly.schema(what)


@dataclass(frozen=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str


def run(program: FakeProgram, *argv: str) -> Ran:
    """The exit code and both streams of `reconcile ARGV`."""
    out, err = io.StringIO(), io.StringIO()
    code = main(argv, terminal=Terminal(out, err), assembly=lambda: program)
    return Ran(code, out.getvalue(), err.getvalue())
