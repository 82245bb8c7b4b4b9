"""A circuit breaker: it stops requests to a server that does not answer, and probes the server until it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from enum import IntEnum
from math import inf
from time import monotonic

from structlog import get_logger

from pycalc.backoff import full_jitter
from pycalc.observability.metrics import Metrics

_LATE_ANSWERS = 3
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_STEADY_SECONDS = 10.0

_log = get_logger(__name__)


class State(IntEnum):
    """The breaker's states, as the metric shows them: only a closed breaker lets questions through."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class CircuitBreaker:
    """A breaker that opens after three late answers in a row, or at once when there is no connection."""

    def __init__(
        self, probe: Callable[[], Awaitable[None]], metrics: Metrics, clock: Callable[[], float] = monotonic
    ) -> None:
        """``probe`` returns when the server is well, within a bounded time, and raises otherwise."""
        self._probe = probe
        self._clock = clock
        self._openings = metrics.cache_circuit_opened
        self._late_answers = 0
        self._late_at = -inf
        self._failures = 0
        self._closed_at = clock()
        self._probing: asyncio.Task[None] | None = None
        self.state = State.OPEN
        metrics.cache_circuit.set_function(lambda: self.state)

    @property
    def closed(self) -> bool:
        """Whether requests to Redis are let through."""
        return self.state is State.CLOSED

    def __str__(self) -> str:
        return self.state.name.lower().replace("_", "-")

    async def begin(self) -> None:
        """Probe once; where that fails, the breaker stays open and probes again in the background."""
        if not await self._try():
            self._probe_in_background()

    def answered(self) -> None:
        """Count an answer that came in time."""
        self._late_answers = 0

    def late(self, asked: float) -> None:
        """Count a reply that did not come in time to a request sent at ``asked``; the third in a row opens the breaker.

        A request sent before the last late reply was counted belongs to the same stall, which counts once.
        """
        if asked < self._late_at:
            return
        self._late_at = self._clock()
        self._late_answers += 1
        if self._late_answers >= _LATE_ANSWERS:
            self.trip(f"{_LATE_ANSWERS} answers in a row were late")

    def trip(self, reason: str) -> None:
        """Open the breaker; one that is open or being probed stays as it is."""
        if not self.closed:
            return
        _log.warning("cache circuit opened", reason=reason)
        self._openings.inc()
        self.state = State.OPEN
        if self._clock() - self._closed_at > _STEADY_SECONDS:
            self._failures = 0  # a server that fails again soon after a good probe is left alone for longer
        self._probe_in_background()

    async def aclose(self) -> None:
        """Stop probing and leave the breaker open."""
        self.state = State.OPEN
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    def _probe_in_background(self) -> None:
        # In a context of its own: the request whose question failed is over before its probes are.
        self._probing = asyncio.get_running_loop().create_task(
            self._probe_until_well(), name="cache circuit", context=Context()
        )

    async def _probe_until_well(self) -> None:
        while True:
            self._failures += 1
            await asyncio.sleep(full_jitter(self._failures, _LONGEST_PAUSE, _FIRST_PAUSE))
            if await self._try():
                return

    async def _try(self) -> bool:
        self.state = State.HALF_OPEN
        try:
            await self._probe()
        except Exception as error:  # whatever the error is: the server is not well
            self.state = State.OPEN
            _log.info("cache circuit stays open", reason=str(error) or type(error).__name__)
            return False
        self.state = State.CLOSED
        self._late_answers = 0
        self._closed_at = self._clock()
        _log.info("cache circuit closed")
        return True
