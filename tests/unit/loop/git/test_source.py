"""The git source, with real repositories: what it converges to, and what holds while something is wrong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from reconciler.loop.git.command import Git, GitFailedError, GitTimeoutError
from reconciler.loop.git.location import git_location
from reconciler.loop.git.mirror import TIDY_EVERY, GitAccess
from reconciler.loop.git.source import MAX_BACK_OFF_S, GitSource
from reconciler.loop.last_good import LastGood
from reconciler.loop.source import SourceRead
from tests.fakes.clock import START, FakeClock
from tests.fakes.git_repository import GitRepository
from tests.patience import until

HEAD = "apiVersion: reconciler/v1\n"


def manifest(*names: str) -> str:
    models = "".join(f"  {name}: {{source: file:{name}.gguf, sha256: {'ab' * 32}}}\n" for name in names)
    return f"{HEAD}models:\n{models}"


class Machine:
    """A node that follows one repository."""

    def __init__(self, folder: Path, *, signers: Path | None = None) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.clock = FakeClock()
        self.signers = signers
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)

    def source(
        self, url: str, *, ref: str = "main", path: str = "manifests", interval_s: float = 60.0, chance: float = 0.0
    ) -> GitSource:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_DIR": "/nonexistent"}
        access = GitAccess(environment, signers=self.signers)
        return GitSource(git_location(url, ref, path), self.state_dir, access, self.clock, interval_s, lambda: chance)

    def accept(self, read: SourceRead) -> None:
        """What the loop does with a revision that the fuse lets pass."""
        assert read.accept is not None
        self.state_dir.mkdir(exist_ok=True)
        LastGood(self.state_dir / "last-good.json").write(read.accept)

    @property
    def git_folder(self) -> Path:
        (folder,) = (self.state_dir / "git").iterdir()
        return folder


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "git")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def models(read: SourceRead) -> list[str]:
    assert read.desired is not None
    return sorted(read.desired.models)


def unready(read: SourceRead) -> tuple[str, ...]:
    assert read.desired is not None
    return read.desired.provenance.unready


def looked(source: GitSource) -> SourceRead:
    source.look()
    return source.read()


# ---- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_the_newest_commit_is_read_and_named(tmp_path: Path, machine: Machine, object_format: str) -> None:
    repository = GitRepository(tmp_path / "git", object_format=object_format)
    commit = repository.commit({"manifests/a.yaml": manifest("one"), "other/b.yaml": "not: ours"})
    source = machine.source(repository.url)
    read = looked(source)
    assert (models(read), unready(read), read.errors) == (["one"], (), ())
    assert (read.status.kind, read.status.commit, read.status.is_ready) == ("git", commit, True)
    assert read.status.location == f"file://{repository.bare}#main:manifests"
    assert read.status.checked_at == START
    assert read.desired is not None
    assert read.desired.provenance.paths == (f"git:file://{repository.bare}#main:manifests",)
    newer = repository.commit({"manifests/c.yaml": manifest("two")})
    assert not source.has_changed()
    assert source.look()
    assert source.has_changed()
    read = source.read()
    assert (models(read), read.status.commit) == (["one", "two"], newer)


def test_a_look_that_finds_nothing_new_is_no_news_and_costs_no_fetch(
    repository: GitRepository, machine: Machine
) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url)
    first = looked(source)
    before = sorted((path, path.stat().st_mtime_ns) for path in machine.state_dir.rglob("*"))
    machine.clock.advance(60)
    assert not source.look()
    assert not source.has_changed()
    assert source.read().desired is first.desired
    assert source.read().status.checked_at == machine.clock.now()
    assert sorted((path, path.stat().st_mtime_ns) for path in machine.state_dir.rglob("*")) == before


def test_errors_are_labelled_as_in_the_repository(repository: GitRepository, machine: Machine) -> None:
    commit = repository.commit({"manifests/sub/a.yaml": f"{HEAD}models:\n  x: {{sorce: file:x, sha256: 1}}\n"})
    read = looked(machine.source(repository.url))
    assert read.desired is None
    assert (read.reason, read.status.is_ready) == ("ManifestInvalid", False)
    assert str(read.errors[0]).startswith("manifests/sub/a.yaml:3:")
    assert read.status.message.startswith(f"commit {commit[:12]} is invalid: manifests/sub/a.yaml:3:")


def test_relative_sources_and_the_lock_file_come_with_the_commit(repository: GitRepository, machine: Machine) -> None:
    files: dict[str, str | bytes | None] = {
        "manifests/a.yaml": manifest("one"),
        "manifests/one.gguf": b"bytes\r\n",
        "manifests/reconcile.lock": "{",
    }
    repository.commit(files)
    read = looked(machine.source(repository.url))
    assert str(read.errors[0]).startswith("manifests/reconcile.lock")
    commit = repository.commit({"manifests/reconcile.lock": None})
    read = looked(machine.source(repository.url))
    assert read.desired is not None
    (source,) = {source for file in read.desired.models["one"].files for source in file.sources}
    assert source.redacted == f"file:{machine.git_folder}/{commit}/manifests/one.gguf"
    assert (machine.git_folder / commit / "manifests" / "one.gguf").read_bytes() == b"bytes\r\n"


def test_a_single_file_and_the_root_of_a_repository_can_be_followed(
    repository: GitRepository, machine: Machine
) -> None:
    repository.commit({"a.yaml": manifest("one"), "sub/b.yaml": manifest("two"), "sub/c.yaml": manifest("three")})
    assert models(looked(machine.source(repository.url, path="sub/b.yaml"))) == ["two"]
    assert models(looked(machine.source(repository.url, path="a.yaml"))) == ["one"]
    assert models(looked(machine.source(repository.url, path="."))) == ["one", "three", "two"]


def test_a_tag_and_a_full_reference_can_be_followed(repository: GitRepository, machine: Machine) -> None:
    tagged = repository.commit({"manifests/a.yaml": manifest("one")})
    repository.git("tag", "-a", "-m", "a tag", "v1")
    repository.git("push", "-q", str(repository.bare), "v1")
    repository.commit({"manifests/a.yaml": manifest("two")})
    for ref in ("v1", "refs/tags/v1"):
        read = looked(machine.source(repository.url, ref=ref))
        assert (models(read), read.status.commit) == (["one"], tagged)


def test_a_branch_whose_name_ends_alike_is_not_taken_for_it(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("wrong")}, ref="feature/main")
    read = looked(machine.source(repository.url))
    assert (read.desired, read.reason) == (None, "SourceRefMissing")


def test_requests_are_read_beside_the_repository(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url)
    assert models(looked(source)) == ["one"]
    (machine.state_dir / "requests").mkdir()
    (machine.state_dir / "requests" / "r.yaml").write_text(manifest("asked-for"))
    assert source.has_changed()
    assert models(source.read()) == ["asked-for", "one"]


def test_only_the_newest_commit_of_a_long_history_is_fetched(repository: GitRepository, machine: Machine) -> None:
    for number in range(30):
        repository.commit({"manifests/a.yaml": manifest(f"m{number}"), "big": os.urandom(20_000)})
    source = machine.source(repository.url)
    assert models(looked(source)) == ["m29"]
    copied = sum(path.stat().st_size for path in machine.state_dir.rglob("*") if path.is_file())
    assert copied < 100_000


def test_what_earlier_commits_left_behind_is_collected(repository: GitRepository, machine: Machine) -> None:
    source = machine.source(repository.url)
    for number in range(TIDY_EVERY + 2):
        repository.commit({"manifests/a.yaml": manifest(f"m{number}"), "big": os.urandom(50_000)})
        assert models(looked(source)) == [f"m{number}"]
    copied = sum(path.stat().st_size for path in machine.state_dir.rglob("*") if path.is_file())
    assert copied < 50_000 * 5


def test_a_history_that_was_rewritten_is_followed(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url)
    looked(source)
    amended = repository.commit({"manifests/a.yaml": manifest("two")}, "--amend")
    read = looked(source)
    assert (models(read), read.status.commit) == (["two"], amended)


def test_the_files_of_the_last_two_commits_and_of_the_accepted_one_are_kept(
    repository: GitRepository, machine: Machine
) -> None:
    source = machine.source(repository.url)
    first = repository.commit({"manifests/a.yaml": manifest("m0")})
    machine.accept(looked(source))
    commits = [first]
    for number in range(1, 5):
        commits.append(repository.commit({"manifests/a.yaml": manifest(f"m{number}")}))
        looked(source)
    kept = {path.name for path in machine.git_folder.iterdir()}
    assert kept == {"repository.git", commits[0], commits[-1], commits[-2]}


def test_copies_are_not_readable_for_others(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    looked(machine.source(repository.url))
    assert machine.git_folder.stat().st_mode & 0o077 == 0


# ---- what a repository may not do ----------------------------------------------------------------


def test_nothing_that_a_repository_carries_is_run(repository: GitRepository, machine: Machine, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = f"#!/bin/sh\ntouch {ran}\ncat\n"
    hooks = ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "post-rewrite")
    filters = (
        f'[filter "evil"]\n  smudge = touch {ran}; cat\n  clean = cat\n  process = touch {ran}\n  required = true\n'
    )
    repository.commit(
        {
            "manifests/a.yaml": manifest("one"),
            "manifests/.gitattributes": "* filter=evil text eol=crlf export-ignore export-subst\n",
            "manifests/big.gguf": "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n",
            ".gitattributes": "* filter=evil\n*.gguf filter=lfs\n",
            ".gitconfig": filters,
            **{f".git-hooks/{name}": script for name in hooks},
        }
    )
    # What an attacker who could write into this machine's configuration would add: it is not enough either.
    (machine.home / ".gitconfig").write_text(filters + f"[core]\n  hooksPath = {repository.work / '.git-hooks'}\n")
    for name in hooks:
        (repository.work / ".git-hooks" / name).chmod(0o755)
    source = machine.source(repository.url)
    assert models(looked(source)) == ["one"]
    for name in hooks:
        hook = machine.git_folder / "repository.git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(script)
        hook.chmod(0o755)
    commit = repository.commit({"manifests/b.yaml": manifest("two")})
    assert models(looked(source)) == ["one", "two"]
    checkout = machine.git_folder / commit / "manifests"
    assert (checkout / "big.gguf").read_bytes().startswith(b"version https://git-lfs")
    assert b"\r" not in (checkout / "a.yaml").read_bytes()
    assert not ran.exists()


def test_a_submodule_is_not_entered(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    commit = repository.git("rev-parse", "HEAD")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},manifests/module")
    (repository.work / ".gitmodules").write_text(
        f'[submodule "m"]\n  path = manifests/module\n  url = {repository.bare}\n'
    )
    repository.git("add", ".gitmodules")
    commit = repository.commit_staged()
    assert models(looked(machine.source(repository.url))) == ["one"]
    assert not (machine.git_folder / commit / "manifests" / "module").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "../outside.yaml", "loop/../../x"])
def test_a_link_that_leaves_its_folder_is_refused(repository: GitRepository, machine: Machine, target: str) -> None:
    repository.commit({"manifests/a.yaml": manifest("one"), "outside.yaml": manifest("two")})
    source = machine.source(repository.url)
    held = looked(source).status.commit
    (repository.work / "manifests" / "bad.yaml").symlink_to(target)
    repository.commit()
    read = looked(source)
    assert (read.reason, read.status.commit, models(read), unready(read)) == ("SourceRefused", held, ["one"], ("git",))
    assert "bad.yaml" in read.status.message
    (repository.work / "manifests" / "bad.yaml").unlink()
    mended = repository.commit()
    read = looked(source)
    assert (read.reason, read.status.commit, unready(read)) == ("", mended, ())


def test_links_that_lead_out_together_are_refused(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a/b/c/d.yaml": manifest("one")})
    (repository.work / "manifests" / "a" / "b" / "c" / "up").symlink_to("../../..")
    (repository.work / "manifests" / "out.yaml").symlink_to("a/b/c/up/../../x.yaml")
    repository.commit()
    read = looked(machine.source(repository.url))
    assert (read.desired, read.reason) == (None, "SourceRefused")


def test_a_link_inside_the_folder_is_kept(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/one.gguf": "x", "manifests/a.yaml": manifest("one")})
    (repository.work / "manifests" / "same.gguf").symlink_to("one.gguf")
    commit = repository.commit()
    assert models(looked(machine.source(repository.url))) == ["one"]
    assert (machine.git_folder / commit / "manifests" / "same.gguf").read_text() == "x"


def test_a_tree_with_a_name_that_leads_out_is_refused(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    blob = repository.git("hash-object", "-w", "manifests/a.yaml")
    evil = bytes.fromhex(blob)
    tree = repository.work / "evil-tree"
    tree.write_bytes(b"100644 ../../evil.yaml\0" + evil)
    inner = repository.git("hash-object", "-t", "tree", "-w", "--literally", "evil-tree")
    tree.write_bytes(b"40000 manifests\0" + bytes.fromhex(inner))
    outer = repository.git("hash-object", "-t", "tree", "-w", "--literally", "evil-tree")
    commit = repository.git("commit-tree", "-m", "evil", outer)
    repository.git("update-ref", "refs/heads/main", commit)
    repository.push()
    read = looked(machine.source(repository.url))
    assert read.desired is None
    assert read.reason in ("SourceRefused", "SourceUnreachable")
    assert not list(machine.folder.rglob("evil.yaml"))


# ---- what holds while something is wrong ---------------------------------------------------------


def _branch_deleted(repository: GitRepository) -> None:
    repository.git("update-ref", "-d", "refs/heads/main", at=repository.bare)


def _repository_gone(repository: GitRepository) -> None:
    repository.bare.rename(repository.bare.with_name("gone.git"))


def _path_gone(repository: GitRepository) -> None:
    repository.commit({"manifests/a.yaml": None, "elsewhere.yaml": manifest("one")})


def _path_emptied(repository: GitRepository) -> None:
    repository.commit({"manifests/a.yaml": None, "manifests/README.md": "moved"})


def _invalid(repository: GitRepository) -> None:
    repository.commit({"manifests/a.yaml": manifest("one").replace("source", "sorce")})


def _not_a_repository(repository: GitRepository) -> None:
    _repository_gone(repository)
    repository.bare.mkdir()
    (repository.bare / "HEAD").write_text("what?\n")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_repository_gone, "SourceUnreachable"),
        (_not_a_repository, "SourceUnreachable"),
        (_branch_deleted, "SourceRefMissing"),
        (_path_gone, "SourcePathMissing"),
        (_path_emptied, "SourceEmpty"),
        (_invalid, "ManifestInvalid"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_the_last_good_commit_holds_and_nothing_is_pruned(
    repository: GitRepository, machine: Machine, damage: object, reason: str, restarted: bool
) -> None:
    good = repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url)
    machine.accept(looked(source))
    assert callable(damage)
    damage(repository)
    if restarted:
        source = machine.source(repository.url)
    read = looked(source)
    assert (models(read), unready(read), read.accept) == (["one"], ("git",), None)
    assert (read.reason, read.status.is_ready, read.status.commit) == (reason, False, good)
    assert "the last good commit holds and nothing is pruned" in read.status.message
    if (repository.bare.with_name("gone.git")).exists():
        if repository.bare.exists():
            (repository.bare / "HEAD").unlink()
            repository.bare.rmdir()
        repository.bare.with_name("gone.git").rename(repository.bare)
    mended = repository.commit({"manifests/a.yaml": manifest("one", "two")})
    read = looked(source)
    assert (models(read), unready(read), read.reason) == (["one", "two"], (), "")
    assert (read.status.commit, read.status.is_ready, read.status.message) == (mended, True, "")


def test_before_the_first_look_the_accepted_revision_holds(repository: GitRepository, machine: Machine) -> None:
    commit = repository.commit({"manifests/a.yaml": manifest("one")})
    machine.accept(looked(machine.source(repository.url)))
    read = machine.source(repository.url).read()
    assert (models(read), unready(read), read.accept) == (["one"], ("git",), None)
    assert (read.reason, read.status.commit, read.status.checked_at) == ("", commit, None)


def test_an_error_in_requests_is_told_and_takes_nothing_away(repository: GitRepository, machine: Machine) -> None:
    commit = repository.commit({"manifests/a.yaml": manifest("one")})
    (machine.state_dir / "requests").mkdir(parents=True)
    (machine.state_dir / "requests" / "r.yaml").write_text("nonsense: 1\n")
    read = looked(machine.source(repository.url))
    assert (models(read), unready(read), read.status.commit) == (["one"], ("requests",), commit)
    assert (read.reason, read.status.is_ready) == ("ManifestInvalid", False)


def test_on_a_fresh_machine_nothing_is_desired_before_the_first_look(machine: Machine) -> None:
    read = machine.source("file:///nonexistent").read()
    assert (read.desired, read.reason, read.status.commit) == (None, "SourceNotRead", None)


def test_a_remote_that_stays_down_is_asked_less_and_less_often(repository: GitRepository, machine: Machine) -> None:
    source = machine.source("file:///nonexistent.git", interval_s=10.0)
    pauses = []
    for _ in range(8):
        assert source.look()
        read = source.read()
        assert read.next_attempt_at is not None
        pauses.append((read.next_attempt_at - machine.clock.now()).total_seconds())
        machine.clock.advance(pauses[-1])
    assert pauses == [10, 20, 40, 80, 160, MAX_BACK_OFF_S, MAX_BACK_OFF_S, MAX_BACK_OFF_S]


def test_nodes_that_started_together_do_not_ask_together(machine: Machine) -> None:
    source = machine.source("file:///nonexistent.git", interval_s=10.0, chance=0.5)
    source.look()
    read = source.read()
    assert read.next_attempt_at is not None
    assert (read.next_attempt_at - machine.clock.now()).total_seconds() == 9.5


def test_a_copy_that_git_cannot_use_is_made_anew(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url)
    looked(source)
    (machine.git_folder / "repository.git" / "shallow.lock").touch()  # what a killed fetch leaves behind
    repository.commit({"manifests/a.yaml": manifest("two")})
    assert unready(looked(source)) == ("git",)
    assert models(looked(source)) == ["two"]


@pytest.mark.parametrize("damage", ["HEAD", "config"])
def test_a_broken_copy_does_not_stop_the_source(repository: GitRepository, machine: Machine, damage: str) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url)
    looked(source)
    (machine.git_folder / "repository.git" / damage).write_text("\0\0 nonsense")
    repository.commit({"manifests/a.yaml": manifest("two")})
    source.look()
    assert models(looked(source)) == ["two"]


def test_a_repository_that_changed_its_object_format_is_followed(tmp_path: Path, machine: Machine) -> None:
    old = GitRepository(tmp_path / "old")
    old.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(old.url)
    looked(source)
    new = GitRepository(tmp_path / "new", object_format="sha256")
    commit = new.commit({"manifests/a.yaml": manifest("two")})
    old.bare.rename(tmp_path / "away")
    new.bare.rename(old.bare)
    read = looked(source)
    assert (models(read), read.status.commit) == (["two"], commit)


def test_offline_asks_only_a_repository_on_this_machine(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    access = GitAccess({"PATH": os.environ["PATH"], "HOME": str(machine.home)}, offline=True)
    for url, reason in ((repository.url, ""), ("https://192.0.2.1/r.git", "EgressDenied")):
        location = git_location(url, "main", "manifests")
        assert looked(GitSource(location, machine.state_dir, access, machine.clock, 60.0)).reason == reason


def test_the_words_of_git_are_short_and_hold_nothing_secret(machine: Machine, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    told = r"printf 'warning: x\nfatal: Could not read from remote repository.\n\033[2Jfatal: no\n' >&2"
    shown = 'echo "fatal: https://u:hunter2@h/r refused $GIT_CONFIG_VALUE_0" >&2'
    (programs / "git").write_text(f"#!/bin/sh\n{told}\n{shown}\nhead -c 90000 /dev/zero | tr '\\0' y >&2\nexit 1\n")
    (programs / "git").chmod(0o755)
    git = Git(tmp_path, {"PATH": f"{programs}:{os.environ['PATH']}"})
    with pytest.raises(GitFailedError) as caught:
        git.run("fetch", timeout_s=20, config=("http.extraHeader", "Authorization: Basic hunter2"))
    assert "hunter2" not in caught.value.message
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


def test_a_command_that_takes_too_long_is_ended(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 60 & wait\n")
    (tmp_path / "git").chmod(0o755)
    with pytest.raises(GitTimeoutError, match="git fetch was ended after"):
        Git(tmp_path, {"PATH": f"{tmp_path}:{os.environ['PATH']}"}).run("fetch", timeout_s=0.2)


def test_a_missing_git_is_said(machine: Machine, repository: GitRepository) -> None:
    location = git_location(repository.url, "main", "manifests")
    access = GitAccess({"PATH": str(machine.home)})
    read = looked(GitSource(location, machine.state_dir, access, machine.clock, 60.0))
    assert read.reason == "GitMissing"


# ---- its thread ----------------------------------------------------------------------------------


def test_a_commit_wakes_the_loop(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url, interval_s=0.1)
    woken = threading.Event()
    source.start(woken.set)
    try:
        assert woken.wait(20)
        assert models(source.read()) == ["one"]
        woken.clear()
        repository.commit({"manifests/a.yaml": manifest("two")})
        assert woken.wait(20)
        assert models(source.read()) == ["two"]
    finally:
        source.close()


def test_a_refresh_looks_at_once(repository: GitRepository, machine: Machine) -> None:
    repository.commit({"manifests/a.yaml": manifest("one")})
    source = machine.source(repository.url, interval_s=3600.0)
    woken = threading.Event()
    source.start(woken.set)
    try:
        assert woken.wait(20)
        woken.clear()
        repository.commit({"manifests/a.yaml": manifest("two")})
        source.refresh()
        assert woken.wait(20)
    finally:
        source.close()


def test_closing_kills_a_fetch_that_hangs_with_everything_it_started(machine: Machine, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, body in {"ssh": f"echo $$ > {tmp_path}/ssh.pid; exec sleep 60"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    access = GitAccess({"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(machine.home)})
    location = git_location("git@example.com:o/r.git", "main", "manifests")
    source = GitSource(location, machine.state_dir, access, machine.clock, 60.0)
    woken = threading.Event()
    source.start(woken.set)
    pid_file = tmp_path / "ssh.pid"
    until(lambda: pid_file.exists() and pid_file.read_text().strip())
    pid = int(pid_file.read_text())
    source.close()
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
    until(lambda: not any(thread.name == "git-source" for thread in threading.enumerate()))
    assert not woken.is_set()
