"""This machine's shallow copy of a remote repository: which commit it points to, and its files on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.core.errors import StalledError, TransientError
from reconciler.durable import make_folder
from reconciler.loop.git.command import Git, GitFailedError, GitStoppedError, GitTimeoutError
from reconciler.loop.git.location import GitLocation
from reconciler.loop.git.tree import remove_tree, write_tree

ASK_TIMEOUT_S = 60.0
# One line of an answer: a remote that needs longer is as good as down.
FETCH_TIMEOUT_S = 900.0
# The files of one commit over a slow line; silence ends after 30 s already.
LOCAL_TIMEOUT_S = 60.0
TIDY_EVERY = 20
# Each fetched commit leaves the objects of the one before behind; collecting them costs more than they weigh.

_HEAD = "refs/reconciler/head"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?").fullmatch
_LOGIN = re.compile(r"could not read (?:Username|Password)|Authentication failed|Permission denied|Host key|\b40[13]\b")


@dataclass(frozen=True, slots=True)
class Head:
    """What a reference of the remote is now."""

    commit: str
    ref: str
    """In full."""


@dataclass(frozen=True, slots=True)
class GitAccess:
    """What this node has to reach the remote and to judge what it says."""

    environment: Mapping[str, str]
    """Of this process: git gets the few variables that lead to keys and authorities."""
    token: Callable[[], str | None] = lambda: None
    """The access token for https, read again for each call; None: there is none."""
    signers: Path | None = None
    """The allowed signers (ssh-keygen(1)); None: commits need no signature."""
    offline: bool = False
    """Whether only a repository on this machine may be asked."""


class GitMirror:
    """`<state_dir>/git/<name>`: a bare repository, and one folder of files for each commit that is kept."""

    def __init__(self, location: GitLocation, folder: Path, access: GitAccess) -> None:
        self._location = location
        self._folder = folder
        self._access = access
        self._copy = folder / "repository.git"
        self._git = Git(self._copy, access.environment)
        self._fetched = 0

    def folder_of(self, commit: str) -> Path:
        """Where the files of the commit lie, once they do."""
        return self._folder / commit

    def head(self) -> Head:
        """What the remote's reference is now. Raises TransientError (`SourceUnreachable`) or StalledError."""
        self._prepare("sha1" if not self._copy.exists() else "")
        names = [name for ref in self._location.refs for name in (ref, f"{ref}^{{}}")]
        answer = self._remote("ls-remote", "--", self._location.url, *names, timeout_s=ASK_TIMEOUT_S)
        lines = (line.partition("\t") for line in answer.decode("utf-8", "replace").splitlines())
        found = {name: commit for commit, _, name in lines}
        for ref in self._location.refs:
            commit = found.get(f"{ref}^{{}}") or found.get(ref)
            if commit is not None and _COMMIT(commit):
                return Head(commit, ref)
        raise StalledError(
            f"{self._location.shown} has no branch or tag {self._location.ref!r}",
            reason="SourceRefMissing",
            hint="bring it back, or change RECONCILER_GIT_REF; until then nothing changes here",
        )

    def take(self, head: Head) -> str:
        """The commit that was there when it was fetched; its files are complete in `folder_of`.

        A copy that git can't use is thrown away, so that the next try starts afresh.
        Raises TransientError, or StalledError for a commit that must not be used.
        """
        if self._access.signers is None and self.folder_of(head.commit).is_dir():
            return head.commit
        self._prepare("sha1" if len(head.commit) == 40 else "sha256")
        try:
            commit = self._fetch(head)
            self._verify(commit)
            if not self.folder_of(commit).is_dir():
                write_tree(self._git, commit, self._location.path, self.folder_of(commit))
            self._tidy()
        except GitStoppedError:
            raise
        except TransientError:
            # The remote answered a moment ago, so the copy may be what is wrong: a killed fetch leaves locks.
            remove_tree(self._copy)
            raise
        return commit

    def keep(self, commits: frozenset[str]) -> None:
        """The files of all other commits are gone."""
        for folder in self._folder.iterdir():
            if _COMMIT(folder.name) and folder.name not in commits:
                remove_tree(folder)

    def stop(self) -> None:
        """What runs is killed, and nothing more starts; from any thread."""
        self._git.stop()

    def _prepare(self, object_format: str) -> None:
        """There is a copy of that format; "" for any."""
        if self._copy.exists() and object_format and self._format() != object_format:
            remove_tree(self._copy)
        if not self._copy.exists():
            make_folder(self._folder)
            self._folder.chmod(0o700)  # a copy must not be readable for more than the repository is
            self._local("init", "--quiet", "--bare", "--template=", f"--object-format={object_format or 'sha1'}")

    def _format(self) -> str:
        """The copy's object format; empty for a copy that git can't use."""
        try:
            return self._local("rev-parse", "--show-object-format").decode().strip()
        except GitFailedError:
            return ""

    def _fetch(self, head: Head) -> str:
        options = ("--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force", "--quiet")
        self._remote("fetch", *options, "--", self._location.url, f"{head.ref}:{_HEAD}", timeout_s=FETCH_TIMEOUT_S)
        self._fetched += 1
        return self._local("rev-parse", "--verify", f"{_HEAD}^{{commit}}").decode().strip()

    def _verify(self, commit: str) -> None:
        """The commit is signed by an allowed signer, if that is asked for. OpenPGP and X.509 signatures don't count."""
        signers = self._access.signers
        if signers is None:
            return
        if not signers.is_file():
            raise StalledError(
                f"{signers}: the file of allowed signers is not there",
                reason="SourceVerificationFailed",
                hint="set RECONCILER_GIT_SIGNERS to a file as in ssh-keygen(1), ALLOWED SIGNERS",
            )
        settings = (f"gpg.ssh.allowedSignersFile={signers}", "gpg.minTrustLevel=fully")
        others = ("gpg.program=false", "gpg.openpgp.program=false", "gpg.x509.program=false")
        try:
            self._local(*(word for item in (*settings, *others) for word in ("-c", item)), "verify-commit", commit)
        except GitTimeoutError:
            raise
        except GitFailedError as error:
            raise StalledError(
                f"commit {commit[:12]} has no signature of an allowed signer",
                reason="SourceVerificationFailed",
                hint=f"sign it with a key that {signers} lists, or list its key there",
            ) from error

    def _tidy(self) -> None:
        if self._fetched >= TIDY_EVERY:
            self._fetched = 0
            self._local("gc", "--prune=now", "--quiet")

    def _local(self, *arguments: str) -> bytes:
        return self._git.run(*arguments, timeout_s=LOCAL_TIMEOUT_S)

    def _remote(self, *arguments: str, timeout_s: float) -> bytes:
        if self._access.offline and not self._location.url.startswith("file:"):
            raise StalledError(
                f"{self._location.shown} was not asked: --offline",
                reason="EgressDenied",
                hint="run again without --offline",
            )
        credential = self._location.credential(self._access.token())
        try:
            return self._git.run(*arguments, timeout_s=timeout_s, config=credential)
        except GitFailedError as error:
            if self._copy.exists() and not self._format():
                remove_tree(self._copy)  # so it was not the remote; the next try starts afresh
            raise _unreachable(self._location.shown, error) from error


def _unreachable(shown: str, error: GitFailedError) -> TransientError:
    hint = None
    if _LOGIN.search(error.message):
        hint = "give this user an ssh key with a known host, or set RECONCILER_GIT_TOKEN for https"
    return TransientError(f"{shown} can't be read: {error.message}", reason="SourceUnreachable", hint=hint)
