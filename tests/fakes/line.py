"""A bad line in front of any server on loopback: a TCP proxy that knows nothing of what it carries, so TLS as well.

    with FaultyLine(origin.port, script=[LineFault(cut_after_bytes=20_000)]) as line:
        fetch(f"http://127.0.0.1:{line.port}/m")

Each connection takes the next `LineFault` of the `script`; when the script is used up, `always` applies (by default:
a good line). Bytes are counted on their way to the client, heads and TLS records included.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

_BLOCK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


@dataclass(frozen=True)
class LineFault:
    """How one connection differs from a good one; fields combine."""

    refuse: bool = False
    """Take the connection and close it at once; nothing reaches the server."""
    latency_s: float = 0.0
    """Everything the client gets comes later by this."""
    bytes_per_s: int | None = None
    """The client gets no more than this."""
    segment_bytes: int | None = None
    """The client gets it in pieces of this size, each in a segment of its own."""
    cut_after_bytes: int | None = None
    """Close the connection when the client has got so many bytes."""
    stall_after_bytes: int | None = None
    """Pass on nothing more when the client has got so many bytes; the connection stays."""
    reset: bool = False
    """What is closed is closed with RST."""
    half_close: bool = False
    """The server sees the client's end of stream as soon as it has got the first bytes of a request."""


class FaultyLine:
    """Passes connections on while it is entered; two threads for each."""

    def __init__(self, target_port: int, *, script: Sequence[LineFault] = (), always: LineFault = LineFault()) -> None:
        self.connections = 0
        """How many connections were accepted so far."""
        self._target_port = target_port
        self._script = list(script)
        self._always = always
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> FaultyLine:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Nothing listens any more, every connection is cut and every thread has ended."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            ends, threads = list(self._open), list(self._threads)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            fault = self._script.pop(0) if self._script else self._always
            self._start(self._carry, client, fault)

    def _carry(self, client: socket.socket, fault: LineFault) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(_close, client, fault)
            if fault.refuse:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.create_connection(("127.0.0.1", self._target_port))
            stack.callback(server.close)
            with self._lock:
                self._open |= {client, server}
            up = threading.Thread(target=self._up, args=(client, server, fault), daemon=True)
            up.start()
            with contextlib.suppress(OSError):
                self._down(server, client, fault)
            # SHUT_RD wakes the other thread and sends nothing: a FIN would come before the RST.
            for end, how in ((client, socket.SHUT_RD if fault.reset else socket.SHUT_RDWR), (server, socket.SHUT_RDWR)):
                with contextlib.suppress(OSError):
                    end.shutdown(how)
            up.join()
            with self._lock:
                self._open -= {client, server}

    def _up(self, client: socket.socket, server: socket.socket, fault: LineFault) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_BLOCK):
                server.sendall(data)
                if fault.half_close:
                    server.shutdown(socket.SHUT_WR)
                    return
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, client: socket.socket, fault: LineFault) -> None:
        got = 0
        while data := server.recv(fault.segment_bytes or _BLOCK):
            self._closing.wait(fault.latency_s)
            data, at_edge = _up_to(data, got, fault.cut_after_bytes, fault.stall_after_bytes)
            client.sendall(data)
            got += len(data)
            if fault.bytes_per_s is not None:
                self._closing.wait(len(data) / fault.bytes_per_s)
            if at_edge and fault.stall_after_bytes is not None:
                self._closing.wait()
            if at_edge:
                return


def _up_to(data: bytes, got: int, *edges: int | None) -> tuple[bytes, bool]:
    """What of `data` lies before the first edge, and whether that edge is reached."""
    edge = min((edge for edge in edges if edge is not None), default=None)
    if edge is None or got + len(data) < edge:
        return data, False
    return data[: edge - got], True


def _close(client: socket.socket, fault: LineFault) -> None:
    if fault.reset:
        with contextlib.suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()
