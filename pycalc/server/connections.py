"""Limits on client connections, enforced through the kernel because Granian bounds only their total (ADR 18).

Granian has no limit per address and does not report when a client has read the last byte; the kernel knows both.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from structlog import get_logger

from pycalc.observability.metrics import Metrics
from pycalc.services.limits.client_address import ClientAddresses
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.responses import ReadingSpeed

_log = get_logger(__name__)
_CHECK_SECONDS = 0.5
_MAX_SHARE = 20  # checks take at most 1/20 of the time
# The application cuts slow responses first, and counts them by route; this guard waits twice as long.
_PATIENCE = 2
_DESCRIPTORS = Path("/proc/self/fd")
_TRIED = 2  # without a list of descriptors, try the lowest: twice as many as there are connections
_TCP_INFO_BYTES = 148
_BYTES_ACKED, _NOT_SENT = 120, 144  # offsets of a uint64 and a uint32 in the kernel's ``struct tcp_info``


@contextmanager
def _borrowed(family: int, descriptor: int) -> Iterator[socket.socket]:
    """Yield a socket object for a descriptor without owning it; raises OSError if the descriptor is not a socket.

    The descriptor is not duplicated: it may have become SQLite's file, and closing a duplicate would drop its locks.
    """
    borrowed = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()


class _Connection(NamedTuple):
    descriptor: int
    peer: tuple[str, int]
    acknowledged: int  # bytes received by the client since it connected
    stalled: bool  # there are unsent bytes for which the client has no room


class ConnectionGuard:
    """A guard that closes connections of addresses with too many, and of clients that read too slowly.

    Connections are shared fairly between addresses; trusted proxies are exempt. The guard also covers the end of a
    response, which the application has handed over but the kernel and the HTTP server still buffer.
    """

    def __init__(
        self,
        listener: socket.socket,
        total: int,
        addresses: ClientAddresses,
        reading_speed: ReadingSpeed,
        metrics: Metrics,
        check_seconds: float = _CHECK_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``total``: the HTTP server's maximum of connections; ``check_seconds``: the time between two checks."""
        self._clock = clock
        self._family = listener.family
        self._port = listener.getsockname()[1]
        self._total = total
        self._addresses = addresses
        self._reading_speed = reading_speed
        self._metrics = metrics
        self._check_seconds = check_seconds
        # By stalled client: since when it is watched, and how many bytes it had acknowledged then.
        self._waiting: dict[tuple[str, int], tuple[float, int]] = {}
        self._warned = False

    async def watch(self) -> None:
        """Check the connections periodically, in a thread, until cancelled."""
        while True:
            began = monotonic()
            await asyncio.to_thread(self.check)
            await asyncio.sleep(max(self._check_seconds, _MAX_SHARE * (monotonic() - began)))

    def check(self) -> None:
        """Close the connections that exceed a limit now."""
        connections = list(self._connections())
        self._metrics.connections.set(len(connections))
        if len(connections) > self._total // 2:
            for connection in self._excess(connections):
                self._end(connection, "address")
        for connection in self._slow(connections):
            self._end(connection, "slow")

    def _connections(self) -> Iterator[_Connection]:
        """Yield this process's connections to its port, mostly in the order of their age."""
        for descriptor in self._descriptors():
            try:
                with _borrowed(self._family, descriptor) as connection:
                    if self._is_ours(connection):
                        yield _Connection(descriptor, connection.getpeername()[:2], *self._progress(connection))
            except OSError:  # not a socket, not connected, or closed meanwhile
                continue

    def _descriptors(self) -> Iterable[int]:
        try:
            return sorted(map(int, os.listdir(_DESCRIPTORS)))
        except OSError:  # listing the folder takes a descriptor, and all may be in use
            return range(_TRIED * self._total)

    def _is_ours(self, connection: socket.socket) -> bool:
        name = connection.getsockname()
        return isinstance(name, tuple) and name[1] == self._port  # that of a Unix socket is a string

    def _progress(self, connection: socket.socket) -> tuple[int, bool]:
        """Return the number of acknowledged bytes, and whether unsent bytes wait for the client."""
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        if len(info) < _TCP_INFO_BYTES:
            if not self._warned:
                self._warned = True
                _log.warning("the kernel does not report what clients have read: slow readers stay connected")
            return 0, False
        (acknowledged,) = struct.unpack_from("=Q", info, _BYTES_ACKED)
        (not_sent,) = struct.unpack_from("=I", info, _NOT_SENT)
        return acknowledged, not_sent > 0

    def _excess(self, connections: list[_Connection]) -> Iterator[_Connection]:
        """Yield the connections beyond their addresses' fair shares."""
        limit = ConcurrencyLimit(self._total, self._metrics.connections_cut.labels("address"), "")
        for connection in connections:
            host = connection.peer[0]
            if not self._addresses.is_proxy(host) and limit.try_acquire(self._addresses.client(host, ())) is None:
                yield connection

    def _slow(self, connections: list[_Connection]) -> Iterator[_Connection]:
        """Yield the connections whose clients have read at less than half the required rate for too long."""
        now, known = self._clock(), self._waiting
        self._waiting = {}
        for connection in connections:
            if not connection.stalled:
                continue
            since, taken = known.get(connection.peer, (now, connection.acknowledged))
            if connection.acknowledged < taken:  # another client, from the same port
                since, taken = now, connection.acknowledged
            seconds = now - since
            if seconds >= _PATIENCE * self._reading_speed.seconds:
                if connection.acknowledged - taken < seconds * self._reading_speed.rate / 2:
                    yield connection
                    continue
                since, taken = now, connection.acknowledged
            self._waiting[connection.peer] = since, taken

    def _end(self, connection: _Connection, reason: str) -> None:
        """Shut a connection down unless its descriptor has been reused; the HTTP server then closes it."""
        try:
            with _borrowed(self._family, connection.descriptor) as still:
                if self._is_ours(still) and still.getpeername()[:2] == connection.peer:
                    still.shutdown(socket.SHUT_RDWR)
                    self._metrics.connections_cut.labels(reason).inc()
        except OSError:  # closed meanwhile
            return
