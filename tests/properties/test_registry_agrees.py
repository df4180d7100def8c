"""Whatever is committed, the registry in a file says the same as the one in memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconciler.core.change import (
    AppendHistory,
    AppendLedger,
    Change,
    ChangeSet,
    DropConditions,
    DropDirective,
    DropEntry,
    DropGeneration,
    DropJob,
    ForgetBlob,
    MarkBlob,
    OwnBlob,
    PutCondition,
    PutDirective,
    PutEntry,
    PutGeneration,
    PutJob,
    QuarantineBlob,
    SetFact,
    UnmarkBlob,
    UnverifyBlob,
    VerifyBlob,
)
from reconciler.core.desired import Kind, Role
from reconciler.core.digest import digest_of
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.egress import Posture
from reconciler.core.entry import Entry, EntryFile, EntrySpec, FileSet, file_set
from reconciler.core.errors import TransientError
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import FileIdentity
from reconciler.core.status import Condition, ConditionType, Past
from reconciler.registry.sqlite import SqliteRegistry
from tests.fakes.clock import START, FakeClock
from tests.fakes.memory_registry import MemoryRegistry

# Few different keys, so that changes meet on the same rows.
digests = st.sampled_from([digest_of(b"%d" % n) for n in range(3)])
names = st.sampled_from(["a", "qwen:7b", "É x", "nul\0name"])
refs = names.map("models/{}".format)
text = st.text(max_size=12)
counts = st.integers(0, 2**63 - 1)
instants = st.integers(-(10**14), 10**14).map(lambda micros: START + timedelta(microseconds=micros))
links = st.builds(FileIdentity, *[st.integers(0, 2**64 - 1)] * 4)
files = st.lists(st.builds(EntryFile, st.text(min_size=1, max_size=8), digests, st.sampled_from(Role)), max_size=3).map(
    lambda found: tuple(sorted({file.path: file for file in found}.values(), key=lambda file: file.path))
)
file_sets: st.SearchStrategy[FileSet] = files.map(file_set)
specs = st.builds(
    EntrySpec,
    st.sampled_from([Kind.MODEL, Kind.ADAPTER]),
    names,
    files,
    text,
    st.none() | text,
    st.none() | text,
    st.lists(text, max_size=2).map(tuple),
    st.none() | names,
    st.none() | st.floats(allow_nan=False),
    st.none() | st.integers(1, 2**31),
)
entries = st.builds(Entry, specs, digests, st.lists(file_sets, max_size=2).map(tuple), instants)
jobs = st.builds(
    Job,
    digests,
    st.sampled_from(JobKind),
    st.sampled_from(JobState),
    st.integers(0, 9),
    instants,
    st.none() | st.sampled_from(Code),
    text,
    st.none() | instants,
    st.booleans(),
    text,
)
directives = st.builds(
    Directive, st.sampled_from(DirectiveKind), names, st.lists(digests, max_size=2).map(tuple), text, instants, text
)
pasts = st.builds(Past, text, st.booleans(), text, instants)
conditions = st.builds(
    Condition,
    refs,
    st.sampled_from(ConditionType),
    st.booleans(),
    text,
    text,
    text,
    instants,
    st.none() | instants,
    st.lists(pasts, max_size=2).map(tuple),
)
history = st.builds(
    HistoryRow,
    instants,
    text,
    st.none() | digests,
    st.none() | counts,
    st.lists(refs, max_size=2).map(tuple),
    text,
    text,
)
known = st.none() | text
ledger = st.builds(
    LedgerRow, instants, text, text, text, counts, text, counts, counts, text, text, text, known, known,
    st.none() | counts, known, st.sampled_from(Posture),
)  # fmt: skip
types = st.lists(st.sampled_from(ConditionType).map(str), max_size=2).map(tuple)

changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(OwnBlob, digests, instants),
    st.builds(VerifyBlob, digests, counts, instants, st.none() | links),
    st.builds(UnverifyBlob, digests),
    st.builds(MarkBlob, digests, instants, st.booleans()),
    st.builds(UnmarkBlob, digests),
    st.builds(QuarantineBlob, digests, instants, st.booleans()),
    st.builds(ForgetBlob, digests),
    st.builds(PutEntry, entries),
    st.builds(DropEntry, refs),
    st.builds(PutGeneration, file_sets),
    st.builds(DropGeneration, file_sets.map(lambda found: found.id)),
    st.builds(PutJob, jobs),
    st.builds(DropJob, digests),
    st.builds(PutDirective, directives),
    st.builds(DropDirective, st.sampled_from(DirectiveKind), names),
    st.builds(PutCondition, conditions),
    st.builds(DropConditions, refs, types),
    st.builds(AppendHistory, history),
    st.builds(AppendLedger, ledger),
    st.builds(SetFact, names, text),
)
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
events = st.builds(EventDraft, st.sampled_from(Topic), st.dictionaries(text, json_values, max_size=3))
change_sets = st.builds(ChangeSet, st.lists(changes, max_size=8).map(tuple), st.lists(events, max_size=3).map(tuple))


class RegistriesAgree(RuleBasedStateMachine):
    """Everything is done to both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.path = Path(self.folder.name) / "registry.db"
        self.memory = MemoryRegistry(self.clock)
        self.sqlite = SqliteRegistry(self.path, self.clock)

    def teardown(self) -> None:
        self.sqlite.close()
        self.folder.cleanup()

    @rule(committed=change_sets)
    def commit(self, committed: ChangeSet) -> None:
        wanted, got = self.memory.commit(committed), self.sqlite.commit(committed)
        assert got.generation == wanted.generation
        assert len(got.event_ids) == len(wanted.event_ids)

    @rule(change=changes)
    def commit_one_change_twice(self, change: Change) -> None:
        self.commit(ChangeSet((change,)))
        once = replace(self.sqlite.snapshot(), generation=0)
        self.commit(ChangeSet((change,)))
        assert replace(self.sqlite.snapshot(), generation=0) == once

    @rule(committed=change_sets, offset=st.integers(-1, 1))
    def commit_expecting(self, committed: ChangeSet, offset: int) -> None:
        expected = self.memory.version() + offset
        outcomes: list[int | str] = []
        for registry in (self.memory, self.sqlite):
            try:
                outcomes.append(registry.commit(committed, expected).generation)
            except TransientError as error:
                outcomes.append(error.reason)
        assert outcomes[0] == outcomes[1]

    @rule(seconds=st.integers(0, 10_000))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def reopen(self) -> None:
        self.sqlite.close()
        self.sqlite = SqliteRegistry(self.path, self.clock)

    @rule(prefixes=st.lists(st.sampled_from(["models.", "slots", "x", ""]), max_size=2).map(tuple))
    def read_events(self, prefixes: tuple[str, ...]) -> None:
        wanted = self.memory.events(None, prefixes, 1000)
        got = self.sqlite.events(None, prefixes, 1000)
        assert [(e.topic, e.at, e.payload) for e in got] == [(e.topic, e.at, e.payload) for e in wanted]
        assert [e.id for e in got] == sorted({e.id for e in got})

    @invariant()
    def say_the_same(self) -> None:
        assert self.sqlite.snapshot() == self.memory.snapshot()
        assert self.sqlite.version() == self.memory.version()
        assert self.sqlite.history(100) == self.memory.history(100)
        assert self.sqlite.ledger(100) == self.memory.ledger(100)


TestRegistriesAgree = RegistriesAgree.TestCase
TestRegistriesAgree.settings = settings(max_examples=30, stateful_step_count=10, deadline=None)
