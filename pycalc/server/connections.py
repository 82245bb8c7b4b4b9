"""Limits on client connections by address and reading speed. Granian itself limits only their total (ADR 18)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from structlog import get_logger

from pycalc.observability.metrics import Metrics
from pycalc.server.client_sockets import ClientConnection, ClientSockets
from pycalc.services.limits.client_address import ClientAddresses
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.responses import ReadingSpeed

_MAX_SHARE = 20  # checks take at most 1/20 of the time
# The application cuts slow responses first, and logs their routes; this guard waits twice as long.
_PATIENCE = 2

_log = get_logger(__name__)


@dataclass(eq=False)
class ConnectionGuard:
    """A guard that closes connections beyond an address's fair share, and connections of clients that read too slowly.

    Shares are enforced only if more than half of the allowed connections are open, and not for trusted proxies. Slow
    reading is also detected at the end of a response, which the application has sent but the client has not received.
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
