"""What is told of downloads that run: only what the look itself saw."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.assembly.build import open_registry
from reconciler.assembly.look import read_downloads, read_needs, read_registry
from reconciler.cas.files import FileBlobStore
from reconciler.core.change import ChangeSet, PutCondition, PutDirective, PutJob, SetFact
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.job import Job, JobKind, JobState
from reconciler.core.status import Condition, ConditionType
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.manifest.tree import Layer, ManifestFile
from reconciler.observe import STORE_ID
from reconciler.settings import Settings, load_settings
from reconciler.writer_lock import WriterLock
from tests.builders import NOW, digest


def accept(settings: Settings, models: dict[str, str]) -> None:
    """The last accepted manifests declare these models, each with the content of a tag."""
    declared = {n: {"source": f"https://a.example/{n}", "sha256": digest(tag)} for n, tag in models.items()}
    text = json.dumps({"apiVersion": "reconciler/v1", "models": declared}).encode()
    layer = Layer("paths", (ManifestFile("m.yaml", "/m", "/m", text),))
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    LastGood(settings.state_dir / "last-good.json").write(AcceptedRevision((layer,), ("/m",), withdrawn=False))


def test_what_did_not_grow_while_it_was_watched_has_no_rate(tmp_path: Path) -> None:
    """Its bytes may come in steps that are longer than the watch."""
    settings = load_settings({"state_dir": tmp_path / "state"})
    store, wanted = FileBlobStore(settings.store_dir), digest("a")
    with WriterLock(settings.state_dir) as lock:
        lock.acquire(command="reconcile", started_at=NOW)
        store.initialise("0" * 32)
        job = Job(wanted, JobKind.FETCH, JobState.DOWNLOADING, 1, NOW)
        with open_registry(settings) as registry:
            registry.commit(ChangeSet((SetFact(STORE_ID, "0" * 32), PutJob(job))))
        with store.open_part(wanted) as part:
            part.write(b"some")

            found = read_downloads(settings, watch_s=0.01)

    assert found.jobs[wanted].state is JobState.DOWNLOADING
    assert found.parts[wanted].size_bytes == len(b"some")
    assert not found.bytes_per_s


def test_nothing_is_said_to_make_progress_where_no_process_is_at_work(tmp_path: Path) -> None:
    settings = load_settings({"state_dir": tmp_path / "state"})
    condition = Condition("models/a", ConditionType.READY, False, "Progressing", "fetch: not in the store", "r", NOW)
    with open_registry(settings) as registry:
        registry.commit(ChangeSet((PutCondition(condition),)))
    with WriterLock(settings.state_dir) as lock:
        lock.acquire(command="reconcile", started_at=NOW)
        assert read_registry(settings).conditions == (condition,)

    (told,) = read_registry(settings).conditions
    assert (told.reason, told.message) == ("Interrupted", "no process is at work; the next run goes on")
    with open_registry(settings) as registry:
        assert registry.snapshot().conditions == (condition,), "what is recorded stays"


def test_what_rests_says_why_by_the_directive_that_decides(tmp_path: Path) -> None:
    settings, wanted = load_settings({"state_dir": tmp_path / "state"}), digest("a")
    accept(settings, {"big": "a", "twin": "a"})
    pause = Directive(DirectiveKind.PAUSE, "models/big", (), "kim", NOW)
    cancel = Directive(DirectiveKind.CANCEL, wanted, (wanted,), "kim", NOW, "enough")
    with open_registry(settings) as registry:
        job = Job(wanted, JobKind.FETCH, JobState.QUEUED, 1, NOW)
        registry.commit(ChangeSet((PutDirective(pause), PutDirective(cancel), PutJob(job))))

    found = read_downloads(settings)

    assert found.jobs[wanted].state is JobState.CANCELED
    assert found.holds == {wanted: "canceled by kim since 2026-01-05T12:00:00Z: enough"}


def test_a_process_that_is_at_work_is_known(tmp_path: Path) -> None:
    settings = load_settings({"state_dir": tmp_path / "state"})
    with WriterLock(settings.state_dir) as lock:
        lock.acquire(command="reconcile", started_at=NOW)
        assert read_downloads(settings).is_at_work

    assert not read_downloads(settings).is_at_work


def test_what_is_needed_is_what_the_last_accepted_manifests_want(tmp_path: Path) -> None:
    settings = load_settings({"state_dir": tmp_path / "state"})
    assert read_needs(settings) == {}
    accept(settings, {"big": "a", "twin": "a"})

    assert {wanted: need.owners for wanted, need in read_needs(settings).items()} == {
        digest("a"): ("models/big", "models/twin")
    }
