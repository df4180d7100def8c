"""manifests/huggingface, unmodified, against a hub on loopback that holds the true bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.hub import Hub
from tests.fixtures import minilm
from tests.unit.docs.snippets import ROOT

pytestmark = pytest.mark.e2e

MANIFESTS = "manifests/huggingface"
Reconcile = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def reconcile(minilm_hub: Hub, tmp_path: Path) -> Reconcile:
    """Runs the command in a process of its own, with the hub as HF_ENDPOINT and a fresh state directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "HF_"))}
    settings = {"HF_ENDPOINT": minilm_hub.endpoint, "RECONCILER_STATE_DIR": str(tmp_path / "state")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("reconcile"), *words],
            cwd=ROOT,
            env={**kept, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_dry_run_shows_the_download_and_leaves_no_file(reconcile: Reconcile, minilm_hub: Hub, tmp_path: Path) -> None:
    plain = reconcile("--dry-run", MANIFESTS)
    detailed = reconcile("--dry-run", "--detailed-exitcode", MANIFESTS)
    assert (plain.returncode, detailed.returncode) == (0, 2), plain.stderr
    assert "1 to fetch (90.9 MB)" in plain.stdout
    assert minilm_hub.requests == []
    assert list(tmp_path.iterdir()) == []


def test_it_converges_to_the_published_digest_and_then_asks_nobody(
    reconcile: Reconcile, minilm_hub: Hub, tmp_path: Path
) -> None:
    first = reconcile(MANIFESTS)
    assert first.returncode == 0, first.stdout + first.stderr
    view = tmp_path / "state" / "views" / "all-minilm-l6-v2" / minilm.FILE
    with view.open("rb") as stream:
        assert hashlib.file_digest(stream, "sha256").hexdigest() == minilm.SHA256
    assert minilm_hub.body_bytes == minilm.SIZE_BYTES
    minilm_hub.requests.clear()
    again = [reconcile("--dry-run", "--detailed-exitcode", MANIFESTS), reconcile(MANIFESTS)]
    assert [done.returncode for done in again] == [0, 0]
    assert minilm_hub.requests == []
