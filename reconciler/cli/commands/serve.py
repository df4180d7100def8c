"""`reconcile serve [PATHS…]`: converge for ever and publish what is true."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Group, Parameter

from reconciler.assembly import ServeOptions
from reconciler.cli.app import COMMANDS, DEFAULT_PATHS
from reconciler.cli.context import Context, UsageError
from reconciler.cli.logs import logging_to
from reconciler.cli.options import NOWHERE, Given, Places
from reconciler.cli.paths import check_paths
from reconciler.cli.systemd import ServiceManager, watchdog_s
from reconciler.cli.terminal import Terminal
from reconciler.environment import EnvironmentFile, process_environment
from reconciler.settings import Settings

_log = logging.getLogger(__name__)

GIT = Group("Follow a git repository", sort_key=0)


@Parameter(name="*", group=GIT)
@dataclass(frozen=True)
class Repository:
    """The repository that is followed instead of PATHS."""

    git: str | None = None
    """Its URL. [env: RECONCILER_GIT]"""

    ref: str | None = None
    """The branch or tag. [env: RECONCILER_GIT_REF, default: main]"""

    path: str | None = None
    """The folder of manifests in it; . is its root. [env: RECONCILER_GIT_PATH, default: manifests]"""

    git_interval: str | None = None
    """How often it is asked for a new commit. [env: RECONCILER_GIT_INTERVAL, default: 60s]"""


NO_REPOSITORY = Repository()


def serve(
    *paths: str,
    listen: str | None = None,
    env_file: str | None = None,
    offline: bool | None = None,
    repository: Repository = NO_REPOSITORY,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Converge for ever, and offer the state API.

    Parameters
    ----------
    paths
        Manifests to watch: files, or folders that are read recursively. [default: manifests]
    listen
        HOST:PORT of the state API; port 0 is any free one. [env: RECONCILER_LISTEN, default: 127.0.0.1:8470]
    env_file
        NAME=value lines, read at the start and again on SIGHUP. [env: RECONCILER_ENV_FILE]
    offline
        Make no connection to other machines. [env: RECONCILER_OFFLINE]
    """
    given: dict[str, object] = {
        "listen": listen,
        "env_file": env_file,
        "offline": offline,
        "git": repository.git,
        "git_ref": repository.ref,
        "git_path": repository.path,
        "git_interval_s": repository.git_interval,
        "state_dir": places.state_dir,
        "store_dir": places.store_dir,
    }
    read = _reader(context, given)
    settings = read()
    watched = _watched(paths, settings)
    service = _Service(context.terminal)
    colour = not settings.no_color
    with logging_to(context.terminal.err, settings.log_format, settings.log_level, colour=colour):
        return int(context.assembly().serve(settings, ServeOptions(watched, read), service))


class _Service:
    """The terminal and systemd, which hear how the service fares."""

    def __init__(self, terminal: Terminal) -> None:
        environment = process_environment()
        beat_s = watchdog_s(environment.get("WATCHDOG_USEC"), environment.get("WATCHDOG_PID"), os.getpid())
        self._manager = ServiceManager(environment.get("NOTIFY_SOCKET"), beat_s)
        self._terminal = terminal
        self._status = ""

    def listening(self, url: str, source: str) -> None:
        self._status = f"serving {source} at {url}"
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", self._status, extra={"pid": os.getpid()})
        else:
            self._terminal.tell(f"reconcile: {self._status}")  # or nobody would know the port

    def ready(self) -> None:
        self._manager.ready(self._status)

    def reloading(self) -> None:
        self._manager.reloading()

    def stopping(self) -> None:
        self._manager.stopping()

    def alive(self) -> None:
        self._manager.alive()

    def settle(self, settings: Settings) -> None:
        logging.getLogger("reconciler").setLevel(settings.log_level.upper())


def _reader(context: Context, given: Mapping[str, object]) -> Callable[[], Settings]:
    """What reads the settings, those of their environment file included."""
    files: dict[Path, EnvironmentFile] = {}

    def read() -> Settings:
        settings = context.settings(**given)
        if settings.env_file is None:
            return settings
        files.setdefault(settings.env_file, EnvironmentFile(settings.env_file)).read()
        return context.settings(**given)

    return read


def _watched(paths: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    if settings.git is not None:
        if paths:
            raise UsageError("PATHS and --git can't go together", hint="name the folder in the repository with --path")
        return ()
    paths = paths or DEFAULT_PATHS
    check_paths(paths, COMMANDS)
    return paths
