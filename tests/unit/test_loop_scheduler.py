"""The loop scheduler: work runs in order, in one time slice for each iteration of the event loop."""

from __future__ import annotations

import asyncio

import pytest

from pycalc.services.compute.loop_scheduler import LoopScheduler
from tests.harness.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.anyio


async def test_other_tasks_run_between_the_time_slices() -> None:
    """In each iteration of the event loop, about 2 ms of the queued work run, in order; other tasks run in between."""
    scheduler, ran = LoopScheduler(), list[object]()

    async def work(number: int) -> None:
        await scheduler.time_slice(0.001)
        ran.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(10)]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(ran.append, "other"))
    await asyncio.gather(*tasks)
    assert [entry for entry in ran if entry != "other"] == list(range(10))
    assert ran.index("other") <= 4


async def test_a_cancelled_caller_delays_nobody() -> None:
    """A cancelled caller does not delay the others."""
    scheduler = LoopScheduler()
    gone, stays = (asyncio.create_task(scheduler.time_slice(1.0)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await stays
