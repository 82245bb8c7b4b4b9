"""Client connections, as the kernel reports them, and limits on them by address and reading speed (ADR 18)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from structlog import get_logger

from pycalc.observability.metrics import Metrics
from pycalc.services.limits.client_address import ClientAddresses
from pycalc.services.limits.concurrency import ConcurrencyLimit, ReadingSpeed

_MAX_SHARE = 20  # checks take at most 1/20 of the time
# The application cuts slow responses first, and logs their routes; this guard waits twice as long.
_PATIENCE = 2

_log = get_logger(__name__)

_BYTES_ACKED, _NOT_SENT = 120, 144  # offsets of a uint64 and a uint32 in the kernel's ``struct tcp_info``


@dataclass(eq=False)
class ConnectionGuard:
    """A guard that closes connections beyond an address's fair share, and connections of clients that read too slowly.

    Shares are enforced only if more than half of the allowed connections are open, and not for trusted proxies.
    """

    sockets: ClientSockets
    total: int  # the most connections of the HTTP server
    addresses: ClientAddresses
    reading_speed: ReadingSpeed
    metrics: Metrics
    check_seconds: float = 0.5  # the shortest time between two checks
    clock: Callable[[], float] = monotonic
    # For each stalled client, when its present observation began, and how many bytes it had acknowledged then.
    _waiting: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict, init=False)

    async def watch(self) -> None:
        """Check the connections at intervals, in a thread, until this call is cancelled. Log the checks that fail."""
        while True:
            began = monotonic()
            try:
                await asyncio.to_thread(self.check)
            except Exception:
                _log.exception("the connections could not be checked")
            await asyncio.sleep(max(self.check_seconds, _MAX_SHARE * (monotonic() - began)))

    def check(self) -> None:
        """Close the connections that exceed a limit now, and count them by reason."""
        connections = list(self.sockets.connections())
        self.metrics.connections.set(len(connections))
        exceeding = []
        if len(connections) > self.total // 2:
            limit = ConcurrencyLimit(self.total, self.metrics.connections_cut.labels("address"), "")
            for connection in connections:
                host = connection.peer[0]
                if not self.addresses.is_proxy(host) and limit.try_acquire(self.addresses.client(host, ())) is None:
                    exceeding.append(("address", connection))
        exceeding += [("slow", connection) for connection in self._slow(connections)]
        for reason, connection in exceeding:
            if self.sockets.shut_down(connection):
                self.metrics.connections_cut.labels(reason).inc()

    def _slow(self, connections: list[ClientConnection]) -> Iterator[ClientConnection]:
        """Yield the connections of clients that have read too slowly for longer than the application allows."""
        now, known = self.clock(), self._waiting
        self._waiting = {}
        for connection in connections:
            if not connection.stalled:
                continue
            since, taken = known.get(connection.peer, (now, connection.acknowledged))
            if connection.acknowledged < taken:  # another client, from the same port
                since, taken = now, connection.acknowledged
            seconds = now - since
            if seconds >= _PATIENCE * self.reading_speed.seconds:
                if connection.acknowledged - taken < seconds * self.reading_speed.rate / 2:
                    yield connection
                    continue
                since, taken = now, connection.acknowledged
            self._waiting[connection.peer] = since, taken


class ClientConnection(NamedTuple):
    """One client's connection."""

    descriptor: int
    peer: tuple[str, int]
    acknowledged: int  # bytes that the client has received since it connected
    stalled: bool  # bytes wait in the kernel to be sent, usually because the client has no room for them


class ClientSockets:
    """The connections that this process has accepted on a listening socket."""

    def __init__(self, listener: socket.socket, info_bytes: int = 148) -> None:
        """Without ``info_bytes`` bytes of TCP_INFO from the kernel, it is unknown how much clients have received."""
        self._family = listener.family
        self._port = listener.getsockname()[1]
        self._info_bytes = info_bytes
        self._warned = False

    def connections(self) -> Iterator[ClientConnection]:
        """Yield the connections in the order of their descriptors. Usually, older ones have lower descriptors."""
        for descriptor in sorted(map(int, os.listdir("/proc/self/fd"))):
            try:
                with self._borrowed(descriptor) as connection:
                    if not self._is_ours(connection):
                        continue
                    peer = connection.getpeername()[:2]
                    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, self._info_bytes)
            except OSError:  # not a socket, not connected, or closed meanwhile
                continue
            acknowledged = not_sent = 0
            if len(info) >= self._info_bytes:
                (acknowledged,) = struct.unpack_from("=Q", info, _BYTES_ACKED)
                (not_sent,) = struct.unpack_from("=I", info, _NOT_SENT)
            elif not self._warned:
                self._warned = True
                _log.warning("the kernel does not report what clients have read: slow readers stay connected")
            yield ClientConnection(descriptor, peer, acknowledged, not_sent > 0)

    def shut_down(self, connection: ClientConnection) -> bool:
        """Shut a connection down, so that the HTTP server closes it. Return False if it is closed already."""
        with suppress(OSError), self._borrowed(connection.descriptor) as still:
            if self._is_ours(still) and still.getpeername()[:2] == connection.peer:
                still.shutdown(socket.SHUT_RDWR)
                return True
        return False

    @contextmanager
    def _borrowed(self, descriptor: int) -> Iterator[socket.socket]:
        """Return a context with a socket object for a descriptor; raises OSError if the descriptor is not a socket."""
        # Not a duplicate: the number may meanwhile belong to SQLite's file, and closing one would release its locks.
        borrowed = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
        try:
            yield borrowed
        finally:
            borrowed.detach()

    def _is_ours(self, connection: socket.socket) -> bool:
        name = connection.getsockname()
        return isinstance(name, tuple) and name[1] == self._port  # a Unix socket's name is a string
