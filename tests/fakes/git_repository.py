"""A real git repository on disk: a bare one that is served, and the work tree that commits come from."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.require import require

_ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "a person",
    "GIT_AUTHOR_EMAIL": "person@example.com",
    "GIT_COMMITTER_NAME": "a person",
    "GIT_COMMITTER_EMAIL": "person@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}


class GitRepository:
    """`bare` is the remote; `commit` makes a commit there. Made by a test that needs git."""

    def __init__(self, folder: Path, *, object_format: str = "sha1") -> None:
        require(shutil.which("git"), "git is not installed")
        self.bare = folder / "remote.git"
        self.work = folder / "work"
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "--bare", "-b", "main", f"--object-format={object_format}", str(self.bare), at=folder)
        self.git("init", "-q", "-b", "main", f"--object-format={object_format}", str(self.work), at=folder)

    @property
    def url(self) -> str:
        """What `--git` is given."""
        return f"file://{self.bare}"

    def git(self, *arguments: str, at: Path | None = None) -> str:
        """What a git command says in the work tree, or in the folder `at`."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=at or self.work,
            env={"PATH": os.environ["PATH"], "HOME": str(self.work), **_ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes | None] | None = None, *options: str, ref: str = "main") -> str:
        """The commit that writes `files` (None removes one) and is pushed to `ref` by force; its id."""
        for name, content in (files or {}).items():
            path = self.work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all", "--force", ".")
        return self.commit_staged(*options, ref=ref)

    def commit_staged(self, *options: str, ref: str = "main") -> str:
        """The commit of what was staged by `git`, pushed to `ref` by force; its id."""
        config = [word for option in options if "=" in option for word in ("-c", option)]
        flags = [option for option in options if "=" not in option]
        self.git(*config, "commit", "-q", "--allow-empty", "-m", "a commit", *flags)
        self.push(ref)
        return self.git("rev-parse", "HEAD")

    def push(self, ref: str = "main") -> None:
        """The remote's `ref` is what the work tree has checked out."""
        self.git("push", "-q", "--force", str(self.bare), f"HEAD:refs/heads/{ref}")
