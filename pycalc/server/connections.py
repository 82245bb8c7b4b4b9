"""Limits on client connections by address and reading speed. Granian itself limits only their total (ADR 18)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic

from structlog import get_logger

from pycalc.observability.metrics import Metrics
from pycalc.server.client_sockets import ClientConnection, ClientSockets
from pycalc.services.limits.client_address import ClientAddresses
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.responses import ReadingSpeed

_CHECK_SECONDS = 0.5
_MAX_SHARE = 20  # checks take at most 1/20 of the time
# The application cuts slow responses first, and logs their routes; this guard waits twice as long.
_PATIENCE = 2

_log = get_logger(__name__)


class ConnectionGuard:
    """A guard that closes connections beyond an address's fair share, and connections of clients that read too slowly.

    Shares are enforced only if more than half of the allowed connections are open, and not for trusted proxies. Slow
    reading is also detected at the end of a response, which the application has sent but the client has not received.
    """

    def __init__(
        self,
        sockets: ClientSockets,
        total: int,
        addresses: ClientAddresses,
        reading_speed: ReadingSpeed,
        metrics: Metrics,
        check_seconds: float = _CHECK_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Guard an HTTP server with at most ``total`` connections. Checks are at least ``check_seconds`` apart."""
        self._sockets = sockets
        self._total = total
        self._addresses = addresses
        self._reading_speed = reading_speed
        self._metrics = metrics
        self._check_seconds = check_seconds
        self._clock = clock
        # For each stalled client, when its present observation began, and how many bytes it had acknowledged then.
        self._waiting: dict[tuple[str, int], tuple[float, int]] = {}

    async def watch(self) -> None:
        """Check the connections at intervals, in a thread, until this call is cancelled. Log the checks that fail."""
        while True:
            began = monotonic()
            try:
                await asyncio.to_thread(self.check)
            except Exception:
                _log.exception("the connections could not be checked")
            await asyncio.sleep(max(self._check_seconds, _MAX_SHARE * (monotonic() - began)))

    def check(self) -> None:
        """Close the connections that exceed a limit now, and count them by reason."""
        connections = list(self._sockets.connections())
        self._metrics.connections.set(len(connections))
        exceeding = []
        if len(connections) > self._total // 2:
            limit = ConcurrencyLimit(self._total, self._metrics.connections_cut.labels("address"), "")
            for connection in connections:
                host = connection.peer[0]
                if not self._addresses.is_proxy(host) and limit.try_acquire(self._addresses.client(host, ())) is None:
                    exceeding.append(("address", connection))
        exceeding += [("slow", connection) for connection in self._slow(connections)]
        for reason, connection in exceeding:
            if self._sockets.shut_down(connection):
                self._metrics.connections_cut.labels(reason).inc()

    def _slow(self, connections: list[ClientConnection]) -> Iterator[ClientConnection]:
        """Yield the connections of clients that have read too slowly for longer than the application allows."""
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
