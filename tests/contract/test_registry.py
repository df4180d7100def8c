"""Every registry passes the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.ports import Registry
from reconciler.registry.sqlite import SqliteRegistry
from tests.contract.registry_suite import RegistryContract
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry


class TestMemoryRegistry(RegistryContract):
    @pytest.fixture
    def registry(self, clock: FakeClock) -> Registry:
        return MemoryRegistry(clock)


@pytest.fixture
def sqlite_registry(clock: FakeClock, tmp_path: Path) -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(tmp_path / "state" / "registry.db", clock)
    yield registry
    registry.close()


class TestSqliteRegistry(RegistryContract):
    @pytest.fixture
    def registry(self, sqlite_registry: SqliteRegistry) -> Registry:
        return sqlite_registry
