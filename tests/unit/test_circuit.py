"""The circuit breaker: what it lets through when, and how often it tries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pycalc.cache.redis.circuit import Circuit
from pycalc.observability.metrics import Metrics
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until


class Patient:
    """What a circuit probes: well or not; counts the probes, and how many were under way at once."""

    def __init__(self) -> None:
        self.well = True
        self.probes = 0
        self.metrics = Metrics()
        self.circuit = Circuit(self.probe, self.metrics, now)

    async def probe(self) -> None:
        """See Circuit."""
        self.probes += 1
        assert str(self.circuit) == "half-open"
        if not self.well:
            raise ConnectionRefusedError("no")

    def metric(self, name: str) -> float | None:
        """Return one of the circuit's metrics."""
        return self.metrics.registry.get_sample_value(name)


@asynccontextmanager
async def closed_circuit() -> AsyncIterator[Patient]:
    """Begin a circuit in virtual time."""
    opened = Patient()
    await opened.circuit.begin()
    yield opened
    await opened.circuit.aclose()


@in_virtual_time
async def test_it_is_open_until_the_first_probe() -> None:
    """Before it begins nothing is let through; after a good probe everything is."""
    async with closed_circuit() as patient:
        assert patient.circuit.closed
        assert (patient.probes, patient.metric("pycalc_cache_circuit")) == (1, 0)
        assert not Circuit(patient.probe, Metrics(), now).closed


@in_virtual_time
async def test_one_failure_opens_it_and_a_good_probe_closes_it() -> None:
    """Several failures of the same moment are one opening; the state and the openings are in the metrics."""
    async with closed_circuit() as patient:
        patient.well = False
        for _ in range(5):
            patient.circuit.trip("refused")
        assert str(patient.circuit) == "open"
        assert patient.metric("pycalc_cache_circuit") == 2
        await until(lambda: patient.probes >= 3, "it is tried again and again")
        assert not patient.circuit.closed
        patient.well = True
        await until(lambda: patient.circuit.closed, "a probe succeeded")
        assert patient.metric("pycalc_cache_circuit_opened_total") == 1


@in_virtual_time
async def test_failing_again_soon_waits_longer() -> None:
    """What fails soon after a good probe is not trusted as quickly; after a steady time it is, as at first."""
    async with closed_circuit() as patient:
        for _ in range(3):
            patient.circuit.trip("refused")
            await until(lambda: patient.circuit.closed, "a probe succeeded")
        assert patient.circuit._pauses._following == 0.8
        await asyncio.sleep(10.1)
        patient.circuit.trip("refused")
        await until(lambda: patient.circuit.closed, "a probe succeeded")
        assert patient.circuit._pauses._following == 0.2


@in_virtual_time
async def test_a_late_answer_that_comes_after_all_closes_it() -> None:
    """It is the probe: nothing else is let through meanwhile, and nobody connects anew."""
    async with closed_circuit() as patient:
        assert patient.circuit.doubt()
        assert (str(patient.circuit), patient.metric("pycalc_cache_circuit_opened_total")) == ("half-open", 1)
        patient.circuit.believe()
        assert patient.circuit.closed
        assert patient.probes == 1


@in_virtual_time
async def test_late_answers_one_after_the_other_are_not_waited_for() -> None:
    """Whoever is slow all the time costs its delay twice, not each time."""
    async with closed_circuit() as patient:
        assert patient.circuit.doubt()
        patient.circuit.believe()
        assert not patient.circuit.doubt()
        patient.circuit.trip("late again")
        assert not patient.circuit.closed


@in_virtual_time
async def test_a_late_answer_that_never_comes_opens_it() -> None:
    """What was doubted and failed is open, and probed like any other; that is one opening."""
    async with closed_circuit() as patient:
        patient.well = False
        patient.circuit.doubt()
        patient.circuit.trip("no answer")
        assert str(patient.circuit) == "open"
        patient.circuit.believe()
        assert not patient.circuit.closed
        assert patient.metric("pycalc_cache_circuit_opened_total") == 1
        await until(lambda: patient.probes > 1, "it is probed")


@in_virtual_time
async def test_a_failure_during_a_probe_changes_nothing() -> None:
    """There is one probe at a time, whatever fails meanwhile."""
    async with closed_circuit() as patient:
        patient.well = False
        patient.circuit.trip("refused")
        recovering = patient.circuit._recovering
        patient.circuit.trip("refused")
        assert patient.circuit.doubt()
        assert patient.circuit._recovering is recovering
        assert str(patient.circuit) == "open"


@in_virtual_time
async def test_a_late_answer_that_nobody_waits_for_closes_nothing() -> None:
    """A circuit that has not begun was never doubted: it stays open until a probe succeeds."""
    patient = Patient()
    patient.circuit.believe()
    assert not patient.circuit.closed
