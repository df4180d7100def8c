"""Running git so that nothing it meets can take over: neither a repository, nor a remote, nor a prompt.

Every call has a limit of time and of output and runs in a process group of its own, which is killed
as a whole: `git fetch` starts ssh or an HTTP helper that would outlive it. Hooks, prompts, helpers,
submodules and automatic maintenance are off, and only https, ssh and file are spoken.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from reconciler.core.errors import StalledError, TransientError

MAX_OUTPUT_BYTES = 32 * 1024 * 1024
# A tree of 100,000 names. What a remote says beyond that is no list of manifests.
MAX_WORDS = 400
# Of git's own explanation; a remote may write as much as it likes into it.
_ERROR_BYTES = 16 * 1024
_LAST_BREATH_S = 10.0
# Between closing its output and ending, a command has nothing to do.

_PASSED_ON = ("HOME", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "USER", "XDG_CONFIG_HOME", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
# Where keys, credential helpers and authorities are found. Other GIT_… variables and proxies are left out.
_FIXED = {
    "GCM_INTERACTIVE": "never",
    "GIT_ALLOW_PROTOCOL": "https:ssh:file",
    "GIT_ASKPASS": "/bin/false",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=15 -oServerAliveInterval=15 -oServerAliveCountMax=3",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "SSH_ASKPASS": "/bin/false",
    "SSH_ASKPASS_REQUIRE": "never",
}
_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "fetch.fsckObjects=true",  # refuses trees with names such as `..` and `.git`
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "http.followRedirects=false",  # a credential must not follow one
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "maintenance.auto=false",
    "submodule.recurse=false",
)
_GENERIC = "Could not read from remote repository."
# What git adds to everything that another program said better.
_USER_IN_URL = re.compile(r"(?<=://)[^/\s@]*@")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class GitFailedError(TransientError):
    """A git command did not do what it should; the message is git's, short and without credentials."""

    default_reason = "GitFailed"


class GitTimeoutError(GitFailedError):
    """It did not end in time."""

    default_reason = "GitTimeout"


class GitStoppedError(TransientError):
    """The program ends, and so did the command."""

    default_reason = "Stopped"


class Git:
    """The git commands of one source, one at a time; `stop` may be called from any thread."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {name: environment[name] for name in _PASSED_ON if environment.get(name)} | _FIXED
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, *arguments: str, timeout_s: float, config: tuple[str, str] | None = None) -> bytes:
        """What the command wrote. `config` is a setting that no other process may see, such as a credential.

        Raises GitFailedError, GitStoppedError, or StalledError (reason `GitMissing`).
        """
        with self._started(arguments, config, stdin=subprocess.DEVNULL) as process:
            output, problem, is_late = _collect(process, time.monotonic() + timeout_s)
            if is_late:
                raise GitTimeoutError(f"git {arguments[0]} was ended after {timeout_s:g} s")
            if len(output) > MAX_OUTPUT_BYTES:
                raise GitFailedError(f"git {arguments[0]} wrote more than {MAX_OUTPUT_BYTES} bytes")
            status = _status(process)
        if self._stopped:
            raise GitStoppedError("git was ended because the program ends")
        if status != 0:
            raise GitFailedError(_words(problem, config) or f"git {arguments[0]} ended with status {status}")
        return output

    @contextmanager
    def conversation(self, *arguments: str, timeout_s: float) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """What the command reads and what it writes, until the time is over: reads come up short then."""
        with self._started(arguments, None, stdin=subprocess.PIPE) as process:
            limit = threading.Timer(timeout_s, _kill, (process,))
            limit.daemon = True
            limit.start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                yield process.stdin, process.stdout
            finally:
                limit.cancel()

    def stop(self) -> None:
        """The running command is killed, and no other will start."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                _kill(self._running)

    @contextmanager
    def _started(
        self, arguments: tuple[str, ...], config: tuple[str, str] | None, stdin: int
    ) -> Iterator[subprocess.Popen[bytes]]:
        process = self._start(arguments, config, stdin)
        try:
            yield process
        finally:
            _kill(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    _close(pipe)
            with self._lock:
                process.wait()
                self._running = None

    def _start(self, arguments: tuple[str, ...], config: tuple[str, str] | None, stdin: int) -> subprocess.Popen[bytes]:
        options = [word for option in _OPTIONS for word in ("-c", option)]
        argv = ["git", f"--git-dir={self._folder}", *options, *arguments]
        with self._lock:
            if self._stopped:
                raise GitStoppedError("git was not started because the program ends")
            try:
                self._running = subprocess.Popen(  # noqa: S603 — argv is built here, values are checked and follow `--`
                    argv,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE if stdin == subprocess.DEVNULL else subprocess.DEVNULL,
                    env=self._environment | _as_environment(config),
                    cwd="/",  # never inside a work tree, whose configuration would count
                    start_new_session=True,
                )
            except OSError as error:
                raise StalledError(
                    f"git can't be run: {error.strerror}",
                    reason="GitMissing",
                    hint="install git 2.31 or newer where this program runs",
                ) from error
            return self._running


def _as_environment(config: tuple[str, str] | None) -> dict[str, str]:
    if config is None:
        return {}
    key, value = config
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": value}


def _collect(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bytes, bool]:
    """All of stdout, up to one byte above the limit, the end of stderr, and whether the time was over."""
    assert process.stdout is not None
    assert process.stderr is not None
    output, problem = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, problem)
        while selector.get_map() and len(output) <= MAX_OUTPUT_BYTES:
            left = until - time.monotonic()
            if left <= 0:
                return bytes(output), bytes(problem), True
            for key, _ in selector.select(left):
                data = os.read(key.fd, 65536)
                key.data.extend(data)
                if not data:
                    selector.unregister(key.fileobj)
            del problem[:-_ERROR_BYTES]
    return bytes(output), bytes(problem), False


def _status(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_LAST_BREATH_S)
    except subprocess.TimeoutExpired:
        raise GitTimeoutError("git said all it had to say, but did not end") from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The command and everything it started are gone."""
    if process.returncode is not None:
        return  # its number may be another process's by now
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all of the group ended already


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        pass  # bytes that the dead process never read


def _words(problem: bytes, config: tuple[str, str] | None) -> str:
    """What went wrong, in git's words: one line, bounded, with nothing in it that is secret or moves a cursor."""
    lines = [_UNPRINTABLE.sub(" ", line).strip() for line in problem.decode("utf-8", "replace").splitlines()]
    told = [line.partition(": ")[2] for line in lines if line.startswith(("fatal: ", "error: "))]
    told = [line.rstrip(".") for line in told or lines if line and line != _GENERIC] or [_GENERIC]
    text = _USER_IN_URL.sub("", "; ".join(told))
    if config is not None:
        text = text.replace(config[1].rpartition(" ")[2], "…")
    return text if len(text) <= MAX_WORDS else text[:MAX_WORDS] + "…"
