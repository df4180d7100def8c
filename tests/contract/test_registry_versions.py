"""A registry that an older version of this program wrote: read without a trace, migrated by the first commit."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.core.change import ChangeSet, PutCondition, PutDirective
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import RegistryError
from reconciler.core.status import Condition, ConditionType, Past
from reconciler.registry import schema
from tests.contract.registry_files import opened, run_sql, traces
from tests.contract.registry_suite import HISTORY, LINK, OLD_LEDGER, T0, A, condition, entry, job

FIXTURES = Path(__file__).parents[1] / "fixtures"
# Each written by that version itself: one row of everything, of the values of the contract suite.


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def path(tmp_path: Path, version: int) -> Path:
    path = tmp_path / "state" / "registry.db"
    path.parent.mkdir()
    path.write_bytes(gzip.decompress((FIXTURES / f"registry_v{version}.db.gz").read_bytes()))
    return path


def version_on_disk(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return schema.user_version(connection)


def test_looking_at_an_older_version_reads_everything_and_changes_no_name_size_mtime_or_digest(
    path: Path, version: int
) -> None:
    before = traces(path.parent)
    pin = Directive(DirectiveKind.PIN, "models/qwen:7b", (A,), "kim", T0)
    with opened(path) as registry:
        found = registry.snapshot()
        assert found.generation == registry.version() == 1
        assert found.blobs[A].link == LINK
        assert found.entries == {"models/qwen:7b": entry()}
        assert found.jobs == {A: job()}
        assert found.conditions == (condition("models/qwen:7b", ConditionType.FETCH_FAILED),)
        assert found.directives == registry.directives() == (pin,)
        assert found.facts == {"store_id": "s1"}
        assert (registry.history(9), registry.ledger(9)) == ((HISTORY,), (OLD_LEDGER,))
        assert [event.payload for event in registry.events(None, (), 9)] == [{"id": "qwen:7b"}]
    assert traces(path.parent) == before
    assert version_on_disk(path) == version


def test_looking_at_an_older_version_beside_a_write_ahead_log_leaves_the_main_file(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("INSERT INTO fact VALUES ('revision', 'r1')")
        before = traces(path.parent)["registry.db"]
        with opened(path) as registry:
            assert registry.snapshot().facts == {"revision": "r1", "store_id": "s1"}
        assert traces(path.parent)["registry.db"] == before
        assert version_on_disk(path) == version


def test_a_commit_migrates_an_older_version_and_keeps_everything(path: Path) -> None:
    with opened(path) as registry:
        before = registry.snapshot()
        told = Condition(
            "node", ConditionType.READY, True, "Ready", "", "r2", T0, None, (Past("r1", False, "New", T0),)
        )
        suspend = Directive(DirectiveKind.SUSPEND, "node", (), "kim", T0, "moving")
        assert registry.commit(ChangeSet((PutCondition(told), PutDirective(suspend)))).generation == 2
    assert version_on_disk(path) == schema.VERSION
    with opened(path) as registry:
        after = registry.snapshot()
        assert after.conditions == (*before.conditions, told)
        assert after.directives == (*before.directives, suspend)
        assert (after.blobs, after.entries, after.jobs) == (before.blobs, before.entries, before.jobs)
        assert (registry.history(9), registry.ledger(9)) == ((HISTORY,), (OLD_LEDGER,))


def test_ids_go_on_where_the_older_version_stopped(path: Path) -> None:
    with opened(path) as registry:
        (told,) = registry.events(None, (), 9)
        assert registry.reserve(1) > told.id
    assert version_on_disk(path) == schema.VERSION


def test_a_damaged_row_of_an_older_version_is_refused_by_name(path: Path) -> None:
    run_sql(path, "UPDATE entry SET files = '[['")
    with opened(path) as registry, pytest.raises(RegistryError) as failure:
        registry.snapshot()
    assert failure.value.reason == "RegistryCorrupt"
