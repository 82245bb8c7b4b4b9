"""The computer, which runs calculations: its start and its worker processes."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import anyio.to_process
import pytest

from pycalc.errors import Overloaded, Unavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, make_plan
from pycalc.services.compute.computer import Computer
from pycalc.services.limits.quotas import compute_quota
from tests.harness.callers import caller
from tests.harness.waiting import found


def test_without_proc_the_service_does_not_start(tmp_path: Path) -> None:
    """Without /proc, the start fails with a message that names the folder, because long computations would fail."""
    with pytest.raises(OSError, match=rf"hand results over through {tmp_path}, which is not mounted"):
        Computer(Metrics(), workers=1, timeout=30, worker_memory=1 << 30, quota=compute_quota(Metrics()), proc=tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize(("deaths", "refused"), [(1, False), (2, True)])
async def test_an_idle_worker_that_has_just_died_is_replaced(
    monkeypatch: pytest.MonkeyPatch, deaths: int, refused: bool
) -> None:
    """If one idle worker has died, no request fails; if its replacement dies too, the request is refused."""
    left = deaths

    async def dying(function: Callable[..., object], *arguments: object, **_: object) -> object:
        nonlocal left
        if left:
            left -= 1
            raise anyio.BrokenWorkerProcess
        return function(*arguments)

    monkeypatch.setattr(anyio.to_process, "run_sync", dying)
    computer = Computer(Metrics(), workers=1, timeout=30, worker_memory=1 << 30, quota=compute_quota(Metrics()))
    with pytest.raises(Unavailable) if refused else nullcontext():
        await computer._ready_worker()
    assert left == 0


def _children() -> list[int]:
    """Return the ids of this process's children."""
    return [int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.anyio
async def test_a_worker_is_reaped_however_often_its_caller_is_cancelled() -> None:
    """However often the caller of a worker is cancelled, the worker process is reaped, and its pipe is closed."""
    metrics = Metrics()
    computer = Computer(metrics, workers=1, timeout=30, worker_memory=1 << 30, quota=compute_quota(metrics))
    worker = await computer.call(caller(), os.getpid)
    assert worker in _children()
    asked = asyncio.create_task(computer.call(caller(), time.sleep, 60))

    async def working() -> bool | None:
        return metrics.registry.get_sample_value("pycalc_compute_running") == 1 or None

    assert await found(working, "the worker is busy")
    while not asked.done():
        asked.cancel()
        await asyncio.sleep(0)
    assert asked.cancelled()
    assert worker not in _children()
    gc.collect()  # a pipe that is still open fails the test


@pytest.mark.anyio
async def test_without_memory_for_a_result_a_computation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system can't create a file in memory, the request is refused with a Retry-After of 5 s, and counted."""

    def refuse(_name: str) -> int:
        raise OSError("Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    metrics = Metrics()
    computer = Computer(metrics, workers=1, timeout=30, worker_memory=1 << 30, quota=compute_quota(Metrics()))
    with pytest.raises(Overloaded, match="retry in 5 s") as refusal:
        await computer.call(caller(), len, b"")
    assert refusal.value.retry_after == 5
    assert metrics.registry.get_sample_value("pycalc_compute_refused_total", {"reason": "memory"}) == 1


@pytest.mark.anyio
async def test_what_is_cheap_needs_no_worker() -> None:
    """A cheap computation runs in this process; a long one needs a worker."""
    computer = Computer(Metrics(), workers=1, timeout=30, worker_memory=1 << 30, quota=compute_quota(Metrics()))
    computer.abandon()  # from now on no worker is available
    cheap = make_plan(1_000_000, "fibonacci", ("10",), DEFAULT_OPTIONS)
    assert (await computer.compute(cheap, caller()))[0] == b"55"
    long = make_plan(1_000_000, "fibonacci", ("1000000",), DEFAULT_OPTIONS)
    with pytest.raises(Unavailable):
        await computer.compute(long, caller())
