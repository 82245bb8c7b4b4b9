"""The memory limits of worker processes: a computation at its limit is stopped, and later ones succeed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from pycalc.errors import ComputationTimeout, Unavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, make_plan
from pycalc.services.compute.computer import Computer
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.quotas import compute_quota
from tests.harness.callers import caller
from tests.harness.processes import children

pytestmark = pytest.mark.anyio

USER = caller(b"somebody")
LITTLE = 1 << 20
# A calculation that takes 7 MB in GMP and 20 MB in decimal arithmetic.
EXHAUSTIVE = ("factorial", ("1100000",))


def plan_for(name: str, literals: tuple[str, ...], options: Options = DEFAULT_OPTIONS) -> Plan:
    """Return the plan of a calculation, which contains its estimated memory."""
    return make_plan(25_000_000, name, literals, options)


def counted(metrics: Metrics, name: str) -> float | None:
    """Return the value of the metric ``pycalc_compute_workers_<name>_total``."""
    return metrics.registry.get_sample_value(f"pycalc_compute_workers_{name}_total")


@pytest.fixture
def metrics() -> Metrics:
    """Return new metrics."""
    return Metrics()


@pytest.fixture
async def computer(metrics: Metrics) -> Computer:
    """Return the service that runs computations, with one worker process."""
    return Computer(metrics, workers=1, timeout=60, worker_memory=8 << 30, quota=compute_quota(metrics))


def taken(length: int) -> int:
    """Allocate ``length`` bytes in Python instead of in GMP, and return their number."""
    return len(bytearray(length))


def death(number: int) -> None:
    """Kill the current process with the signal ``number``."""
    os.kill(os.getpid(), number)


async def test_gmp_at_the_limit_is_a_timeout_and_the_next_computation_works(
    computer: Computer, metrics: Metrics
) -> None:
    """If GMP reaches the memory limit, the worker aborts and ComputationTimeout is raised; later computations work."""
    plan = plan_for(*EXHAUSTIVE)
    with pytest.raises(ComputationTimeout, match="too much memory"):
        await computer.compute(replace(plan, memory=LITTLE), USER)
    assert (counted(metrics, "out_of_memory"), counted(metrics, "lost")) == (1, 0)
    _, outcome = await computer.compute(plan, USER)
    assert outcome.digits == "6167812"


async def test_all_workers_together_take_no_more_than_the_memory_given(metrics: Metrics) -> None:
    """Two workers share 256 MiB equally: a computation may take 64 MiB; at 160 MiB ComputationTimeout is raised."""
    computer = Computer(metrics, workers=2, timeout=60, worker_memory=256 << 20, quota=compute_quota(metrics))
    assert await computer.call(USER, taken, 64 << 20) == 64 << 20
    with pytest.raises(ComputationTimeout, match="too much memory"):
        await computer.call(USER, taken, 160 << 20)
    assert counted(metrics, "out_of_memory") == 1


async def test_the_interpreter_at_the_limit_is_a_timeout_and_its_worker_is_replaced(
    computer: Computer, metrics: Metrics
) -> None:
    """A MemoryError in Python ends the worker, because it may have left the interpreter in a bad state."""
    assert await computer.call(USER, taken, 1 << 20) == 1 << 20
    before = set(children(os.getpid()))
    with pytest.raises(ComputationTimeout, match="too much memory"):
        await computer.call(USER, taken, 1 << 30)
    assert (counted(metrics, "out_of_memory"), counted(metrics, "lost")) == (1, 0)
    assert await computer.call(USER, os.getpid) not in before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_crash_of_another_kind_is_unavailability(
    computer: Computer, metrics: Metrics, number: signal.Signals
) -> None:
    """If a worker is killed or crashes, Unavailable is raised, because a retry may succeed."""
    with pytest.raises(Unavailable):
        await computer.call(USER, death, number)
    assert (counted(metrics, "out_of_memory"), counted(metrics, "lost")) == (0, 1)


async def test_the_limit_ends_with_the_computation(computer: Computer) -> None:
    """A worker's memory limit applies to one computation only."""
    small = plan_for("factorial", ("20000",))
    await computer.compute(replace(small, memory=LITTLE), USER)
    (worker,) = {await computer.call(USER, os.getpid)}
    _, outcome = await computer.compute(plan_for(*EXHAUSTIVE), USER)
    assert outcome.digits == "6167812"
    assert await computer.call(USER, os.getpid) == worker


@pytest.mark.parametrize(
    ("name", "literals", "options"),
    [
        ("fibonacci", ("20000000",), DEFAULT_OPTIONS),
        ("factorial", ("700000",), DEFAULT_OPTIONS),
        ("pow", ("3", "9000000"), DEFAULT_OPTIONS),
        ("pow", ("0.7", "4000000"), DEFAULT_OPTIONS),
        ("pow", ("9" * 5_000, "900"), DEFAULT_OPTIONS),
        ("pow", ("1e1000", "9000"), DEFAULT_OPTIONS),
        ("pow", ("2", "0.5"), Options(10_000)),
        ("factorial", ("1000000000",), Options(modulus="10000000000000061")),
        ("factorial", ("1000000",), Options(modulus=str(10**999 + 7))),
        ("factorial", ("19999",), Options(modulus="9" * 4_000)),
        ("factorial", ("2000000",), Options(modulus=str(2**13_000 * 10**9))),
        ("fibonacci", ("7" * 300,), Options(modulus="9" * 4_000)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_half_the_estimated_memory_is_enough(
    computer: Computer, name: str, literals: tuple[str, ...], options: Options
) -> None:
    """An expensive computation needs at most half of its estimated memory."""
    plan = plan_for(name, literals, options)
    _, outcome = await computer.compute(replace(plan, memory=plan.memory // 2), USER)
    assert int(outcome.digits) > 0
