"""The circuit breaker: when it lets requests through, and how often it probes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pycalc.cache.breaker import CircuitBreaker, CircuitState
from pycalc.observability.metrics import Metrics
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until


class Patient:
    """A dependency that the test makes healthy or not, with its circuit breaker and the number of its probes."""

    def __init__(self) -> None:
        self.well = True
        self.probes = 0
        self.metrics = Metrics()
        self.breaker = CircuitBreaker(self.probe, self.metrics, now)

    @property
    def closed(self) -> bool:
        """Return whether the breaker is closed, so that it lets requests through."""
        return self.breaker.state is CircuitState.CLOSED

    async def probe(self) -> None:
        self.probes += 1
        assert self.breaker.state is CircuitState.HALF_OPEN
        if not self.well:
            raise ConnectionRefusedError("no")

    def metric(self, name: str) -> float | None:
        """Return the value of one of the breaker's metrics."""
        return self.metrics.registry.get_sample_value(name)


@asynccontextmanager
async def closed_breaker() -> AsyncIterator[Patient]:
    """Start a breaker in virtual time, and stop it at the end."""
    opened = Patient()
    await opened.breaker.begin()
    yield opened
    await opened.breaker.aclose()


@in_virtual_time
async def test_it_is_open_until_the_first_probe() -> None:
    """A breaker is open until its first successful probe."""
    async with closed_breaker() as patient:
        assert patient.closed
        assert (patient.probes, patient.metric("pycalc_cache_circuit")) == (1, 0)
        assert CircuitBreaker(patient.probe, Metrics(), now).state is CircuitState.OPEN


@in_virtual_time
async def test_one_failure_opens_it_and_a_good_probe_closes_it() -> None:
    """Several failures count as one opening, failed probes leave the breaker open, and a successful one closes it."""
    async with closed_breaker() as patient:
        patient.well = False
        for _ in range(5):
            patient.breaker.trip("refused")
        assert patient.breaker.state is CircuitState.OPEN
        assert patient.metric("pycalc_cache_circuit") == 2
        await until(lambda: patient.probes >= 3, "three probes were made")
        assert not patient.closed
        patient.well = True
        await until(lambda: patient.closed, "a probe succeeded")
        assert patient.metric("pycalc_cache_circuit_opened_total") == 1


@in_virtual_time
async def test_failing_again_soon_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure soon after a successful probe doubles the delay of the next probe, up to 2 s.

    Ten seconds without a failure reset the delay.
    """
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    async with closed_breaker() as patient:

        async def opened_for() -> float:
            opened_at = now()
            patient.breaker.trip("refused")
            await until(lambda: patient.closed, "a probe succeeded")
            return now() - opened_at

        pauses = [await opened_for() for _ in range(6)]
        assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0], abs=0.06)
        await asyncio.sleep(10.1)
        assert await opened_for() == pytest.approx(0.1, abs=0.06)


@in_virtual_time
async def test_three_late_answers_in_a_row_open_it() -> None:
    """Three late answers in a row open the breaker; an answer in time restarts the count."""
    async with closed_breaker() as patient:
        for _ in range(3):
            patient.breaker.late(now())
            patient.breaker.late(now())
            patient.breaker.answered()
        assert patient.closed
        for expected in (True, True, False):
            patient.breaker.late(now())
            assert patient.closed is expected
        await until(lambda: patient.closed, "a probe succeeded")
        patient.breaker.late(now())
        assert patient.closed
        assert patient.metric("pycalc_cache_circuit_opened_total") == 1


@in_virtual_time
async def test_a_failure_while_it_is_open_changes_nothing() -> None:
    """Further failures while the breaker is open start no second probe."""
    async with closed_breaker() as patient:
        patient.well = False
        patient.breaker.trip("refused")
        probing = patient.breaker._probing
        patient.breaker.trip("refused")
        for _ in range(3):
            patient.breaker.late(now())
        assert patient.breaker._probing is probing
        assert patient.breaker.state is CircuitState.OPEN
        assert patient.metric("pycalc_cache_circuit_opened_total") == 1
