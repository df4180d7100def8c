"""A process that uses the registry, for tests that kill it or run several: `python registry_process.py ROLE PATH …`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from reconciler.core.change import ChangeSet, OwnBlob, PutDirective, SetFact
from reconciler.core.digest import digest_of
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import TransientError
from reconciler.core.event import EventDraft, Topic
from reconciler.registry.sqlite import SqliteRegistry
from tests.fakes.clock import START, FakeClock


def commit_for_ever(path: Path) -> None:
    """Say the generation and the event ids of every commit as soon as it is acknowledged."""
    registry = SqliteRegistry(path, FakeClock())
    number = 0
    while True:
        number += 1
        events = tuple(EventDraft(Topic.MODELS_CHANGED, {"n": number}) for _ in range(3))
        changes = (OwnBlob(digest_of(b"%d" % number), START), SetFact("last", str(number)))
        found = registry.commit(ChangeSet(changes, events))
        print(found.generation, *found.event_ids, flush=True)


def direct(path: Path, by: str, count: int) -> None:
    """Commit `count` directives, each with an event, as a command beside a running writer does."""
    registry = SqliteRegistry(path, FakeClock())
    for number in range(count):
        directive = Directive(DirectiveKind.PIN, f"models/{by}-{number}", (), by, START)
        event = EventDraft(Topic.CONDITIONS_CHANGED, {"by": by, "n": number})
        found = registry.commit(ChangeSet((PutDirective(directive),), (event,)))
        print(found.generation, *found.event_ids, flush=True)
    registry.close()


def reserve(path: Path, count: int, each: int) -> None:
    """Reserve `each` ids and commit an event, in turn, `count` times: say the first reserved id and the event's."""
    with closing(SqliteRegistry(path, FakeClock())) as registry:
        for number in range(count):
            first = registry.reserve(each)
            found = registry.commit(ChangeSet((), (EventDraft(Topic.MODELS_CHANGED, {"n": number}),)))
            print(found.generation, first, *found.event_ids, flush=True)


def fill(path: Path) -> None:
    """Say why commits end on a small disk, how many acknowledged ones are lost, and what happens with room again."""
    spare = path.with_name("spare")
    spare.write_bytes(bytes(100_000))
    reason, done = "", 0
    with closing(SqliteRegistry(path, FakeClock())) as registry:
        while not reason:
            try:
                registry.commit(ChangeSet((SetFact(str(done), "x" * 3000),)))
                done += 1
            except TransientError as error:
                reason = error.reason
    with closing(SqliteRegistry(path, FakeClock())) as registry:
        lost = done - len(registry.snapshot().facts)
        spare.unlink()
        registry.commit(ChangeSet((SetFact("later", "ok"),)))
        print(reason, lost, registry.snapshot().facts["later"])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["commit", path]:
            commit_for_ever(Path(path))
        case ["direct", path, by, count]:
            direct(Path(path), by, int(count))
        case ["reserve", path, count, each]:
            reserve(Path(path), int(count), int(each))
        case ["fill", path]:
            fill(Path(path))
        case other:
            raise SystemExit(
                f"wanted commit PATH, fill PATH, direct PATH BY COUNT or reserve PATH COUNT EACH, got {other}"
            )
