"""The state API as a service: one thread with its own event loop, which nothing else runs in.

The pass calls `publish` and goes on; everything else happens in the thread. It never handles
signals: uvicorn takes them only in the main thread, and `stop` is how the daemon ends it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading

import uvicorn

from reconciler import __version__
from reconciler.core.errors import StalledError
from reconciler.ports import Clock, Registry
from reconciler.publish.health import Ailment, unhealthy, unready
from reconciler.publish.http.app import make_app
from reconciler.publish.http.config import ApiConfig
from reconciler.publish.http.connection import Connection, Limits, protocol
from reconciler.publish.http.sources import Sources
from reconciler.publish.http.sse import Readers
from reconciler.publish.machine import Machine, open_files
from reconciler.publish.metrics import Metrics, Probes
from reconciler.publish.publisher import Publisher, PublisherOptions, open_publisher
from reconciler.publish.status import Status
from reconciler.publish.work import Work

__all__ = ["ApiConfig", "PublisherOptions", "StateApi"]

BACKLOG = 2048
# A thousand clients that lost their connection at the same moment come back at the same moment.

SEND_BUFFER_BYTES = 256 * 1024
# Left alone, the kernel keeps up to 4 MiB for each client that does not read.

MAX_CONNECTIONS = 4096
OWN_FILES = 256
# What the rest of the node has open at once: files of the store, downloads, the registry, processes of slots.

GRACE_S = 0.4
# Time for answers that are under way. A client that does not read would hold the end up for ever.

_log = logging.getLogger(__name__)


class StateApi:
    """The read models of one node over HTTP. `start`, `publish` and `stop` are called by one thread."""

    def __init__(  # noqa: PLR0913, PLR0917 — the composition root names them all
        self,
        config: ApiConfig,
        registry: Registry,
        work: Work,
        clock: Clock,
        machine: Machine = Machine(),  # noqa: B008 — frozen
        options: PublisherOptions = PublisherOptions(),  # noqa: B008 — frozen
        limits: Limits | None = None,
    ) -> None:
        """`work` is asked in the thread of the API; None for `limits`: what this process can bear."""
        self._config = config
        self._registry = registry
        self._work = work
        self._clock = clock
        self._machine = machine
        self._options = options
        self._limits = limits or Limits(max_connections(open_files()))
        self._running: _Running | None = None

    def start(self) -> tuple[str, int]:
        """The API answers at the returned address, whose port is a real one also if 0 was asked for.

        Raises StalledError (reasons `ApiTokenMissing`, `AddressInUse`, `CannotListen`), RegistryError.
        """
        self._config.check()
        listener = listen(self._config.host, self._config.port)
        try:
            publisher = open_publisher(self._registry, self._clock, self._work, self._machine, self._options)
        except BaseException:
            listener.close()
            raise
        self._running = _Running(self._config, publisher, self._registry, self._clock, listener, self._limits)
        self._running.start()
        host, port = listener.getsockname()[:2]
        return host, port

    def publish(self, status: Status) -> None:
        """Clients will see the pass that has just ended; returns at once. Does nothing unless it was started."""
        if self._running is not None:
            self._running.publish(status)

    def stop(self, timeout_s: float) -> bool:
        """Nobody is answered any more, and all streams have ended; whether that was so within the time."""
        running, self._running = self._running, None
        return running is None or running.stop(timeout_s)


class _Running:
    """A started API; its own health."""

    def __init__(
        self,
        config: ApiConfig,
        publisher: Publisher,
        registry: Registry,
        clock: Clock,
        listener: socket.socket,
        limits: Limits,
    ) -> None:
        readers = Readers(config.max_readers)
        stream = publisher.stream
        self._publisher = publisher
        self._clock = clock
        self._listener = listener
        self._status: Status | None = None
        self._passed_s = clock.monotonic()
        self._crash = ""
        probes = Probes(lambda: readers.count, lambda: stream.resyncs, publisher.work.figures)
        self._metrics = Metrics(__version__, registry, stream.head, probes)
        sources = Sources(publisher.documents, stream, self._metrics, readers, self)
        self._server = _server(make_app(sources, config, __version__), limits)
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="state-api", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def publish(self, status: Status) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._accept, status)

    def stop(self, timeout_s: float) -> bool:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def unhealthy(self) -> tuple[Ailment, ...]:
        return unhealthy(self._status, self._age_s(), self._crash)

    def unready(self) -> tuple[Ailment, ...]:
        return unready(self._status, self._age_s(), self._crash or self._publisher.problem)

    def _age_s(self) -> float:
        return self._clock.monotonic() - self._passed_s

    def _accept(self, status: Status) -> None:
        self._status = status
        self._passed_s = self._clock.monotonic()
        self._metrics.observe(status)
        self._publisher.publish(status)

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        publishing = asyncio.create_task(self._publisher.run())
        publishing.add_done_callback(self._publisher_ended)
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        ending = asyncio.create_task(self._end.wait())
        await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
        publishing.cancel()
        self._publisher.stream.close()
        self._server.should_exit = True
        await asyncio.wait((serving,), timeout=GRACE_S)
        self._drop_connections()
        await serving

    def _drop_connections(self) -> None:
        for connection in tuple(self._server.server_state.connections):
            if isinstance(connection, Connection):
                connection.transport.abort()

    def _publisher_ended(self, publishing: asyncio.Task[None]) -> None:
        if publishing.cancelled():
            return
        error = publishing.exception()
        self._crash = f"the publisher has stopped: {error!r}"
        _log.critical("the publisher has stopped: a bug", exc_info=error)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises StalledError (reasons `AddressInUse`, `CannotListen`)."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StalledError(
                f"the state API can't listen on {where}: another program does",
                reason="AddressInUse",
                hint="stop that program, or choose another port with --listen HOST:PORT",
            ) from error
        raise StalledError(
            f"the state API can't listen on {where}: {error.strerror or error}",
            reason="CannotListen",
            hint="choose an address of this machine with --listen HOST:PORT",
        ) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # what it accepts inherits it
    return listener


def max_connections(files: int | None) -> int:
    """How many clients may be connected to a process that may have so many files open."""
    return MAX_CONNECTIONS if files is None else max(1, min(MAX_CONNECTIONS, files - min(OWN_FILES, files // 2)))


def _server(app: object, limits: Limits) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]  # uvicorn spells out the scope's types, starlette does not
            http=protocol(limits),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            log_level=logging.ERROR,  # it warns of every request that is none: strangers could fill the log
        )
    )
