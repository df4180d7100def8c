"""Signed commits: only those of an allowed signer are ever converged to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.git_repository import GitRepository
from tests.require import require
from tests.unit.loop.git.test_source import Machine, looked, manifest, models, unready


class Signer:
    """An ssh key and what makes git sign with it."""

    def __init__(self, folder: Path, name: str) -> None:
        require(shutil.which("ssh-keygen"), "ssh-keygen is not installed")
        self.key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.options = ("gpg.format=ssh", f"user.signingkey={self.key}", "-S")

    @property
    def allowed(self) -> str:
        return f'person@example.com namespaces="git" {self.key.with_suffix(".pub").read_text()}'


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "git")


@pytest.fixture
def known(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "known")


@pytest.fixture
def machine(tmp_path: Path, known: Signer) -> Machine:
    (tmp_path / "signers").write_text(known.allowed)
    return Machine(tmp_path, signers=tmp_path / "signers")


def test_a_commit_of_an_allowed_signer_is_used(repository: GitRepository, machine: Machine, known: Signer) -> None:
    commit = repository.commit({"manifests/a.yaml": manifest("one")}, *known.options)
    read = looked(machine.source(repository.url))
    assert (models(read), read.status.commit, read.reason) == (["one"], commit, "")


def test_unsigned_and_wrongly_signed_commits_leave_the_last_good_one(
    repository: GitRepository, machine: Machine, known: Signer, tmp_path: Path
) -> None:
    stranger = Signer(tmp_path, "stranger")
    good = repository.commit({"manifests/a.yaml": manifest("one")}, *known.options)
    source = machine.source(repository.url)
    assert looked(source).reason == ""
    for options in ((), stranger.options):
        bad = repository.commit({"manifests/a.yaml": manifest("two", f"n{len(options)}")}, *options)
        read = looked(source)
        assert (models(read), unready(read), read.status.commit) == (["one"], ("git",), good)
        assert read.reason == "SourceVerificationFailed"
        assert f"commit {bad[:12]} has no signature of an allowed signer" in read.status.message
        assert not (machine.git_folder / bad).exists()
    newer = repository.commit({"manifests/a.yaml": manifest("three")}, *known.options)
    read = looked(source)
    assert (models(read), read.status.commit, read.reason) == (["three"], newer, "")


def test_an_unsigned_commit_is_refused_although_its_files_are_here_already(
    repository: GitRepository, machine: Machine
) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    signers, machine.signers = machine.signers, None
    assert looked(machine.source(repository.url)).reason == ""
    machine.signers = signers
    read = looked(machine.source(repository.url))
    assert (read.desired, read.reason) == (None, "SourceVerificationFailed")


def test_without_the_file_of_signers_nothing_is_used(
    repository: GitRepository, machine: Machine, known: Signer
) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")}, *known.options)
    assert machine.signers is not None
    machine.signers.unlink()
    read = looked(machine.source(repository.url))
    assert (read.desired, read.reason) == (None, "SourceVerificationFailed")


def test_a_key_of_another_kind_does_not_count(repository: GitRepository, machine: Machine, tmp_path: Path) -> None:
    # A "gpg" that accepts everything: whoever configures one must not thereby allow signers.
    anything = tmp_path / "anything"
    anything.write_text(
        "#!/bin/sh\nfor word; do case $word in --verify) "
        "printf '[GNUPG:] GOODSIG 0123456789ABCDEF x\\n[GNUPG:] TRUST_ULTIMATE 0 pgp\\n'; exit 0;; esac; done\n"
        "cat > /dev/null\nprintf '[GNUPG:] SIG_CREATED D\\n' >&2\n"
        "printf -- '-----BEGIN PGP SIGNATURE-----\\n-----END PGP SIGNATURE-----\\n'\n"
    )
    anything.chmod(0o755)
    (machine.home / ".gitconfig").write_text(
        f'[gpg]\n  program = {anything}\n[gpg "openpgp"]\n  program = {anything}\n'
    )
    repository.commit({"manifests/a.yaml": manifest("one")}, f"gpg.program={anything}", "-S")
    assert "PGP SIGNATURE" in repository.git("cat-file", "commit", "HEAD")
    read = looked(machine.source(repository.url))
    assert (read.desired, read.reason) == (None, "SourceVerificationFailed")
