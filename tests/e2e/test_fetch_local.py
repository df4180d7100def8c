"""Adopting files of this machine through the same call that downloads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.core.desired import Adopt, Transfer
from reconciler.core.digest import digest_of
from reconciler.core.egress import EgressPolicy
from reconciler.core.errors import IntegrityError
from reconciler.core.job import Code, JobKind, JobSpec
from reconciler.core.source import LocalFile
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.attempt import Attempts
from reconciler.transfer.failure import FetchError
from reconciler.transfer.report import Fetched
from reconciler.transfer.token import Canceled
from tests.e2e.fetch_rig import Rig

pytestmark = pytest.mark.e2e

DATA = os.urandom(100_000)
DIGEST = digest_of(DATA)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def local(path: Path, root: Path) -> LocalFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DATA)
    return LocalFile(str(path), str(root))


def test_a_file_beside_its_manifest_is_adopted_as_a_copy(rig: Rig) -> None:
    source = local(rig.folder / "manifests" / "m.gguf", rig.folder / "manifests")
    fetched = rig.fetch(source, DIGEST, len(DATA))
    assert (fetched.size_bytes, fetched.link) == (len(DATA), None)
    assert rig.blob(DIGEST) == DATA
    assert (rig.folder / "store" / "by-hash" / DIGEST).stat().st_nlink == 1
    assert [name for name, *_ in rig.report.heard if name != "progress"] == ["admit", "started", "verifying"]
    assert rig.report.rows == []


def test_a_hard_link_comes_with_the_identity_of_the_file(rig: Rig) -> None:
    source = local(rig.folder / "manifests" / "m.gguf", rig.folder / "manifests")
    spec = JobSpec(JobKind.FETCH, DIGEST, ("models/m",), None, (source,), Transfer(adopt=Adopt.HARDLINK))
    attempts = Attempts(rig.store, rig.origins, rig.session, SystemClock())
    fetched: Fetched = attempts.fetch(spec, source, egress=EgressPolicy, stop=rig.token, report=rig.report, corr_id="c")
    found = Path(source.path).stat()
    assert fetched.link is not None
    assert (fetched.link.inode, fetched.link.mtime_ns) == (found.st_ino, found.st_mtime_ns)
    assert found.st_nlink == 2
    assert [name for name, *_ in rig.report.heard if name != "progress"] == ["started", "verifying"]
    assert ("started", len(DATA), 0) in rig.report.heard


def test_a_path_outside_the_manifests_folder_is_not_admitted(rig: Rig) -> None:
    source = local(rig.folder / "elsewhere" / "m.gguf", rig.folder / "manifests")
    with pytest.raises(FetchError) as caught:
        rig.fetch(source, DIGEST)
    assert (caught.value.code, caught.value.transient) == (Code.ADMISSION_DENIED, False)
    assert "RECONCILER_FILE_ROOTS" in (caught.value.hint or "")


def test_what_is_wrong_with_a_file_leaves_its_path_to_the_source(rig: Rig) -> None:
    source = local(rig.folder / "m.gguf", rig.folder)
    with pytest.raises(FetchError) as caught:
        rig.fetch(source, DIGEST, size_bytes=7)
    assert caught.value.message == "wanted 7 bytes, as declared, got a file of 100000"
    Path(source.path).unlink()
    with pytest.raises(FetchError) as caught:
        rig.fetch(source, DIGEST)
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, "No such file or directory")


def test_a_link_that_leads_outside_is_not_admitted(rig: Rig) -> None:
    local(rig.folder / "elsewhere" / "m.gguf", rig.folder)
    (rig.folder / "manifests").mkdir()
    link = rig.folder / "manifests" / "m.gguf"
    link.symlink_to(rig.folder / "elsewhere" / "m.gguf")
    with pytest.raises(FetchError) as caught:
        rig.fetch(LocalFile(str(link), str(link.parent)), DIGEST)
    assert caught.value.code is Code.ADMISSION_DENIED


def test_a_configured_folder_is_admitted(rig: Rig) -> None:
    rig.origins = SourceOrigins(file_roots=(str(rig.folder / "elsewhere"),))
    source = local(rig.folder / "elsewhere" / "m.gguf", rig.folder / "manifests")
    rig.fetch(source, DIGEST)
    assert rig.blob(DIGEST) == DATA


def test_wrong_bytes_are_not_adopted(rig: Rig) -> None:
    source = local(rig.folder / "m.gguf", rig.folder)
    other = digest_of(b"other")
    with pytest.raises(IntegrityError):
        rig.fetch(source, other)
    assert rig.blob(other) is None


def test_a_cancel_ends_an_adoption(rig: Rig) -> None:
    rig.token.cancel()
    with pytest.raises(Canceled):
        rig.fetch(local(rig.folder / "m.gguf", rig.folder), DIGEST)
    assert rig.blob(DIGEST) is None
