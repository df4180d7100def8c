"""`reconcile serve`: the daemon put together, started in order, and put away in reverse.

Order: lock, registry, state API (which answers 503), first pass. What only `serve` needs (the web
framework, git, the webhook) is imported here, when it is needed.
"""

from __future__ import annotations

import importlib
import logging
import platform
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from reconciler.assembly.build import Parts, build_node, command_line, extras_of, new_id, open_registry, policy_of
from reconciler.assembly.reload import Reload, reload
from reconciler.assembly.service import ServeOptions, Service
from reconciler.assembly.signals import Signals
from reconciler.clock import SystemClock
from reconciler.core.action import Action
from reconciler.core.errors import ReconcilerError, StalledError
from reconciler.core.report import Exit, Result, ResultStatus
from reconciler.environment import process_environment, resolve_secret
from reconciler.loop.folder import FolderSource
from reconciler.loop.node import Node
from reconciler.loop.schedule import SchedulerAlarm
from reconciler.loop.scrubber import Scrubber
from reconciler.loop.serve import Daemon, Outlets
from reconciler.loop.source import Source
from reconciler.loop.transition import Transition
from reconciler.loop.trigger import Trigger
from reconciler.ports import Clock, Registry
from reconciler.publish.status import Status
from reconciler.settings import Settings, host_and_port
from reconciler.writer_lock import WriterLock

STOP_API_S = 0.6
STOP_LANE_S = 0.6
# Together well below `signals.END_WITHIN_S`; streams and downloads are cut in milliseconds.

_log = logging.getLogger(__name__)


def serve(settings: Settings, options: ServeOptions, service: Service) -> Exit:
    """The service ran until a signal ended it. Raises ReconcilerError if it can't start."""
    with Signals() as signals, ExitStack() as stack:
        daemon = stack.enter_context(_daemon(settings, options, service, signals))
        daemon.run()
        service.stopping()
    _log.info("stopped by %s", signals.stopped_by)
    return signals.exit_code


@contextmanager
def _daemon(settings: Settings, options: ServeOptions, service: Service, signals: Signals) -> Iterator[Daemon]:
    with ExitStack() as stack:
        lock = stack.enter_context(WriterLock(settings.state_dir))
        lock.acquire(command=command_line(), started_at=SystemClock().now())
        registry = stack.enter_context(open_registry(settings))
        held = _Held(settings)
        trigger = Trigger()
        policy = replace(policy_of(settings, offline=settings.offline), restarts=True)
        node = build_node(Parts(held.settings, registry, policy, _log_action, trigger), watches=True)
        stack.callback(node.backends.runtimes.close)
        stack.callback(node.backends.lane.stop, STOP_LANE_S)
        source = _source(settings, options.paths, held, node.backends.clock)
        url, publish = _publisher(held, registry, node, stack)
        lock.announce(url)
        notify = _notifier(settings, held, node.backends.clock, stack)
        outlets = Outlets(publish, notify, service.alive, _once(service.ready))
        scrubber = Scrubber(registry, node.backends.store, node.backends.clock, trigger, _log.info)
        daemon = Daemon(node, source, scrubber, trigger, SchedulerAlarm(trigger), outlets, new_id)
        signals.serve(daemon.stop, lambda: _reload(held, options, node, service, daemon))
        service.listening(url, _named(settings, options.paths))
        yield daemon


class _Held:
    """The settings that hold, which a reload replaces."""

    def __init__(self, settings: Settings) -> None:
        self.current = settings

    def settings(self) -> Settings:
        return self.current


def _reload(held: _Held, options: ServeOptions, node: Node, service: Service, daemon: Daemon) -> None:
    """Settings and manifests are read again; what can't be used changes nothing. Called in a thread of its own."""
    service.reloading()
    try:
        found = reload(held.current, options.read_settings())
    except ReconcilerError as error:
        _log.error("settings stay as they were: %s", error.message, extra={"reason": error.reason})
    else:
        held.current = found.settings
        node.policy = replace(node.policy, runtimes=found.settings.runtimes)
        service.settle(found.settings)
        fields = {"applied": found.applied, "restart_required": found.restart_required}
        _log.info("reloaded: %s", _effects(found), extra=fields)
    finally:
        daemon.reload()
        service.ready()


def _effects(found: Reload) -> str:
    said = []
    if found.applied:
        said.append(f"applied {', '.join(found.applied)}")
    if found.restart_required:
        said.append(f"a restart is required for {', '.join(found.restart_required)}")
    return "; ".join(said) or "no setting changed"


def _source(settings: Settings, paths: tuple[str, ...], held: _Held, clock: Clock) -> Source:
    if settings.git is None:
        last_good = importlib.import_module("reconciler.loop.last_good")
        return FolderSource(
            paths, settings.state_dir / "requests", last_good.LastGood(settings.state_dir / "last-good.json"), clock
        )
    git = importlib.import_module("reconciler.loop.git.source")
    mirror = importlib.import_module("reconciler.loop.git.mirror")
    location = importlib.import_module("reconciler.loop.git.location")
    access = mirror.GitAccess(
        process_environment(), lambda: _secret(held.current.git_token), settings.git_signers, offline=settings.offline
    )
    found: Source = git.GitSource(
        location.git_location(settings.git, settings.git_ref, settings.git_path),
        settings.state_dir,
        access,
        clock,
        settings.git_interval_s,
        random.random,
    )
    return found


def _named(settings: Settings, paths: tuple[str, ...]) -> str:
    if settings.git is None:
        return " ".join(paths)
    location = importlib.import_module("reconciler.loop.git.location")
    shown: str = location.git_location(settings.git, settings.git_ref, settings.git_path).identity
    return shown


def _publisher(held: _Held, registry: Registry, node: Node, stack: ExitStack) -> tuple[str, Callable[[Status], None]]:
    """The state API's URL, and what it is told passes by."""
    settings = held.current
    service = importlib.import_module("reconciler.publish.service")
    machine = importlib.import_module("reconciler.publish.machine")
    host, port = host_and_port(settings.listen)
    config = service.ApiConfig(host, port, _secret(settings.api_token), settings.api_hosts)
    directories = {"state": str(settings.state_dir), "store": str(settings.store_dir)}
    backends = node.backends
    options = service.PublisherOptions(extras=lambda: extras_of(held.current))
    this_machine = machine.this_machine(directories)
    api = service.StateApi(config, registry, backends.lane, backends.clock, this_machine, options)
    bound_host, bound_port = api.start()
    stack.callback(api.stop, STOP_API_S)
    return f"http://{_bracketed(bound_host)}:{bound_port}", api.publish


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _notifier(
    settings: Settings, held: _Held, clock: Clock, stack: ExitStack
) -> Callable[[tuple[Transition, ...], str | None], None]:
    """What the webhook is told transitions by."""
    if settings.notify_url is None:
        return lambda transitions, commit: None
    notify = importlib.import_module("reconciler.loop.notify")
    exchange = importlib.import_module("reconciler.net.exchange")
    webhook = notify.Webhook(settings.notify_url, platform.node(), lambda: _secret(held.current.notify_secret))
    notifier = notify.Notifier(webhook, exchange.Exchange(clock, offline=settings.offline).ask, clock)
    notifier.start()
    stack.callback(notifier.close)
    told: Callable[[tuple[Transition, ...], str | None], None] = notifier.tell
    return told


def _secret(reference: str | None) -> str | None:
    """The secret; None if none is named. Raises StalledError: one that is named and missing protects nothing."""
    if reference is None:
        return None
    secret = resolve_secret(reference)
    if secret is None:
        message = f"the secret that {reference} names is not there: it is unset or empty"
        raise StalledError(message, reason="SecretMissing", hint="set it, or take the setting that names it away")
    return secret


def _once(done: Callable[[], None]) -> Callable[[Status], None]:
    is_done = False

    def call(status: Status) -> None:
        nonlocal is_done
        del status
        if not is_done:
            is_done = True
            done()

    return call


def _log_action(action: Action, result: Result) -> None:
    owner = action.owners[0] if action.owners else ""
    fields = {"object": owner, "action": action.id, "reason": result.reason or action.reason}
    match result.status:
        case ResultStatus.DONE:
            _log.info("%s %s: %s", action.op, action.name, action.message, extra=fields)
        case ResultStatus.FAILED:
            _log.warning("%s %s failed: %s", action.op, action.name, result.message, extra=fields)
        case ResultStatus.WAITING | ResultStatus.BLOCKED:
            pass  # its condition says so, once
