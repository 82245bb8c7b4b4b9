"""A circuit breaker, which stops requests to a server that does not answer, and probes the server until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum
from math import inf
from time import monotonic

from structlog import get_logger

from pycalc.backoff import full_jitter
from pycalc.observability.metrics import CacheMetrics

_LATE_ANSWERS = 3
_STEADY_SECONDS = 10.0

_log = get_logger(__name__)


class CircuitState(IntEnum):
    """The states of a circuit breaker, and the values of its metric. Only a closed breaker lets commands through."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class CircuitBreaker:
    """A circuit breaker that opens after three late replies in a row, or at once by ``trip``."""

    def __init__(
        self, probe: Callable[[], Awaitable[None]], metrics: CacheMetrics, clock: Callable[[], float] = monotonic
    ) -> None:
        """Create an open breaker. ``probe`` must return soon if the server is healthy, and else raise an exception."""
        self._probe = probe
        self._clock = clock
        self._openings = metrics.cache_circuit_opened
        self._late_answers = 0
        self._late_at = -inf
        self._tripped = asyncio.Event()
        self._probing: asyncio.Task[None] | None = None
        self.state = CircuitState.OPEN
        metrics.cache_circuit.set_function(lambda: self.state)

    async def begin(self) -> None:
        """Start to probe in the background while the breaker is open, and wait for the first probe."""
        probed = asyncio.Event()
        self._probing = asyncio.get_running_loop().create_task(self._run(probed), name="cache circuit")
        await probed.wait()

    def answered(self) -> None:
        """Note that a reply came in time, which resets the count of late replies."""
        self._late_answers = 0

    def late(self, sent: float) -> None:
        """Count a late reply to a command that was sent at the time ``sent`` of ``clock``.

        If the command was sent before the last late reply was counted, its reply is not counted, because the same stall
        has delayed both commands.
        """
        if sent < self._late_at:
            return
        self._late_at = self._clock()
        self._late_answers += 1
        if self._late_answers >= _LATE_ANSWERS:
            self.trip(f"{_LATE_ANSWERS} answers in a row were late")

    def trip(self, reason: str) -> None:
        """Open the breaker if it is closed, and log ``reason``."""
        if self.state is not CircuitState.CLOSED:
            return
        _log.warning("cache circuit opened", reason=reason)
        self._openings.inc()
        self.state = CircuitState.OPEN
        self._tripped.set()

    async def aclose(self) -> None:
        """Stop probing and leave the breaker open."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})
        self.state = CircuitState.OPEN

    async def _run(self, probed: asyncio.Event) -> None:
        failures = 0
        while True:
            self.state = CircuitState.HALF_OPEN
            try:
                await self._probe()
            except Exception as error:  # any error means that the server is unhealthy
                self.state = CircuitState.OPEN
                _log.info("cache circuit stays open", reason=str(error) or type(error).__name__)
                probed.set()
            else:
                self.state = CircuitState.CLOSED
                _log.info("cache circuit closed")
                probed.set()
                closed_at = self._clock()
                self._late_answers = 0
                self._tripped.clear()
                await self._tripped.wait()
                if self._clock() - closed_at > _STEADY_SECONDS:
                    failures = 0  # a server that fails again sooner keeps its longer waits
            failures += 1
            await asyncio.sleep(full_jitter(failures, longest=2.0, first=0.1))
