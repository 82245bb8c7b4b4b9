"""A circuit breaker: what does not answer is left alone, and tried by one probe at a time (ADR 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from enum import IntEnum
from math import inf
from time import monotonic

from structlog import get_logger

from pycalc.backoff import reconnecting
from pycalc.observability.metrics import Metrics

_FORGIVING_SECONDS = 1.0
"""Of the answers in this time one may be late; after the next one the other side is taken to be slow."""
_STEADY_SECONDS = 10.0
"""What fails again sooner after a good probe than this is left alone for twice as long as the last time."""

_log = get_logger(__name__)


class State(IntEnum):
    """What a circuit lets through: everything; nothing while one probe is under way; nothing."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Circuit:
    """Lets nothing through from the first failure until a probe succeeds; the pauses between probes are bounded.

    An answer that is late is the first probe: when it comes after all, the circuit is closed again.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[None]], metrics: Metrics, clock: Callable[[], float] = monotonic
    ) -> None:
        """``probe`` returns when the other side is well, within a time of its own, and raises otherwise."""
        self._probe = probe
        self._clock = clock
        self._opened = metrics.cache_circuit_opened
        self._pauses = reconnecting()
        self._closed_at = self._clock()
        self._recovering: asyncio.Task[None] | None = None
        self._doubted = False
        self._doubted_at = -inf
        self.state = State.OPEN
        metrics.cache_circuit.set_function(lambda: self.state)

    @property
    def closed(self) -> bool:
        """Whether everything is let through."""
        return self.state is State.CLOSED

    def __str__(self) -> str:
        return self.state.name.lower().replace("_", "-")

    async def begin(self) -> None:
        """Probe for the first time; the circuit stays open where that fails, and is tried again."""
        if not await self._try():
            self._recover()

    def doubt(self) -> bool:
        """Let nothing through until a late answer comes; return False when it is not to be waited for."""
        if not self.closed:
            return True
        again = self._clock() - self._doubted_at < _FORGIVING_SECONDS
        self._doubted_at = self._clock()
        if not again:
            self.state = State.HALF_OPEN
            self._doubted = True
            self._opened.inc()
        return not again

    def believe(self) -> None:
        """Close the circuit again: the late answer has come."""
        if self._doubted:
            self.state = State.CLOSED
            self._doubted = False

    def trip(self, reason: str) -> None:
        """Open the circuit; one that is open already, or being probed, stays as it is."""
        if not (self.closed or self._doubted):
            return
        _log.warning("cache circuit opened", reason=reason)
        if self.closed:
            self._opened.inc()
        self.state = State.OPEN
        self._doubted = False
        if self._clock() - self._closed_at > _STEADY_SECONDS:
            self._pauses.reset()
        self._recover()

    async def aclose(self) -> None:
        """Open the circuit for good."""
        self.state = State.OPEN
        self._doubted = False
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.wait({self._recovering})

    def _recover(self) -> None:
        self._recovering = asyncio.get_running_loop().create_task(
            self._probes(), name="cache circuit", context=Context()
        )

    async def _probes(self) -> None:
        """Probe until that succeeds."""
        while True:
            await asyncio.sleep(self._pauses.next())
            if await self._try():
                return

    async def _try(self) -> bool:
        self.state = State.HALF_OPEN
        try:
            await self._probe()
        except Exception as error:  # whatever it is: the other side is not well
            self.state = State.OPEN
            _log.info("cache circuit stays open", reason=str(error) or type(error).__name__)
            return False
        self.state = State.CLOSED
        self._closed_at = self._clock()
        _log.info("cache circuit closed")
        return True
