"""The connections of clients, looked at from outside the HTTP server, which bounds only their total (ADR 18).

Granian has no bound for each address and does not say when a response's last byte was taken; the kernel knows both.
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
from pycalc.services.limits.responses import Pace

_log = get_logger(__name__)
_LOOK_SECONDS = 0.5
_SHARE = 20
"""Looking takes one part in so many of the time at most."""
_PATIENCE = 2
"""A client is given so many times as long as by the application, which says in its metrics whose response was cut."""
_DESCRIPTORS = Path("/proc/self/fd")
_TRIED = 2
"""Where the descriptors can't be listed, try the lowest ones: this many times the number of connections."""
_TCP_INFO_BYTES = 148
_BYTES_ACKED, _NOT_SENT = 120, 144
"""Offsets in the kernel's ``struct tcp_info``: of an unsigned 64-bit number and of a 32-bit one."""


@contextmanager
def _borrowed(family: int, descriptor: int) -> Iterator[socket.socket]:
    """Yield a socket object for a descriptor that stays its owner's; raises OSError when there is no socket.

    It is not duplicated: closing a duplicate of a file, should the descriptor be one by now, drops SQLite's locks.
    """
    borrowed = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()


class _Connection(NamedTuple):
    descriptor: int
    peer: tuple[str, int]
    acknowledged: int
    """Bytes that the client has taken since it connected."""
    waits: bool
    """Whether there are bytes that the client leaves no room for."""


class ConnectionGuard:
    """Ends connections of an address that has too many, and those whose client does not take what was sent.

    Connections are shared fairly between addresses, trusted proxies excepted. What the kernel and the HTTP server still
    hold of a response when the application has handed over all of it must be read at the pace of any response.
    """

    def __init__(
        self,
        listener: socket.socket,
        total: int,
        addresses: ClientAddresses,
        pace: Pace,
        metrics: Metrics,
        look_seconds: float = _LOOK_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``total``: how many connections the HTTP server accepts; ``look_seconds``: the time between two looks."""
        self._clock = clock
        self._family = listener.family
        self._port = listener.getsockname()[1]
        self._total = total
        self._addresses = addresses
        self._pace = pace
        self._metrics = metrics
        self._look_seconds = look_seconds
        self._waiting: dict[tuple[str, int], tuple[float, int]] = {}
        """For each client that does not take what was sent: since when it is watched, and what it had taken then."""
        self._said = False

    async def watch(self) -> None:
        """Look at the connections from time to time, in a thread, until cancelled."""
        while True:
            began = monotonic()
            await asyncio.to_thread(self.look)
            await asyncio.sleep(max(self._look_seconds, _SHARE * (monotonic() - began)))

    def look(self) -> None:
        """End what must end now."""
        connections = list(self._connections())
        self._metrics.connections.set(len(connections))
        if len(connections) > self._total // 2:
            for connection in self._excess(connections):
                self._end(connection, "address")
        for connection in self._slow(connections):
            self._end(connection, "slow")

    def _connections(self) -> Iterator[_Connection]:
        """Yield the connections of this process to its port, older ones mostly first."""
        for descriptor in self._descriptors():
            try:
                with _borrowed(self._family, descriptor) as connection:
                    if self._is_ours(connection):
                        yield _Connection(descriptor, connection.getpeername()[:2], *self._progress(connection))
            except OSError:  # no socket, not connected, or closed meanwhile
                continue

    def _descriptors(self) -> Iterable[int]:
        try:
            return sorted(map(int, os.listdir(_DESCRIPTORS)))
        except OSError:  # reading the folder takes a descriptor, and the clients have all of them
            return range(_TRIED * self._total)

    def _is_ours(self, connection: socket.socket) -> bool:
        name = connection.getsockname()
        return isinstance(name, tuple) and name[1] == self._port  # that of a Unix socket is a string

    def _progress(self, connection: socket.socket) -> tuple[int, bool]:
        """Return how many bytes the client has taken, and whether there are more that it leaves no room for."""
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        if len(info) < _TCP_INFO_BYTES:
            if not self._said:
                self._said = True
                _log.warning("the kernel does not tell what clients have read: the HTTP server's limits stand alone")
            return 0, False
        (acknowledged,) = struct.unpack_from("=Q", info, _BYTES_ACKED)
        (not_sent,) = struct.unpack_from("=I", info, _NOT_SENT)
        return acknowledged, not_sent > 0

    def _excess(self, connections: list[_Connection]) -> Iterator[_Connection]:
        """Yield the connections that their addresses get no slot for."""
        limit = ConcurrencyLimit(self._total, self._metrics.connections_cut.labels("address"), "")
        for connection in connections:
            host = connection.peer[0]
            if not self._addresses.is_proxy(host) and limit.try_acquire(self._addresses.client(host, ())) is None:
                yield connection

    def _slow(self, connections: list[_Connection]) -> Iterator[_Connection]:
        """Yield the connections whose clients have taken less than they must for as long as they may be late."""
        now, known = self._clock(), self._waiting
        self._waiting = {}
        for connection in connections:
            if not connection.waits:
                continue
            since, taken = known.get(connection.peer, (now, connection.acknowledged))
            if connection.acknowledged < taken:  # another client, from the same port
                since, taken = now, connection.acknowledged
            seconds = now - since
            if seconds >= _PATIENCE * self._pace.seconds:
                if connection.acknowledged - taken < seconds * self._pace.rate / 2:
                    yield connection
                    continue
                since, taken = now, connection.acknowledged
            self._waiting[connection.peer] = since, taken

    def _end(self, connection: _Connection, reason: str) -> None:
        """End a connection unless its descriptor is another's by now; the HTTP server then closes it."""
        try:
            with _borrowed(self._family, connection.descriptor) as still:
                if self._is_ours(still) and still.getpeername()[:2] == connection.peer:
                    still.shutdown(socket.SHUT_RDWR)
                    self._metrics.connections_cut.labels(reason).inc()
        except OSError:  # closed meanwhile
            return
