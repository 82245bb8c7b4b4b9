"""Single flight: concurrent callers share one piece of work, which is cancelled once all of them have left."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from pycalc.errors import Overloaded
from pycalc.services.calculations.single_flight import SingleFlight
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


class Work:
    """A piece of work that ends when the test says so; it counts how often it began and was cancelled."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> str:
        """Do the work, and return its result."""
        self.begun += 1
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return f"result {self.begun}"


async def joined(
    single_flight: SingleFlight[str], work: Work, callers: int, key: str = "key"
) -> list[asyncio.Task[str]]:
    """Start callers that all wait for the work under the same key."""
    tasks = [asyncio.create_task(single_flight.join(key, work)) for _ in range(callers)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_several_callers_are_one_piece_of_work() -> None:
    """All callers get the same result; while they wait, ``is_running`` returns true for their key."""
    single_flight, work = SingleFlight[str](), Work()
    assert not single_flight.is_running("key")
    callers = await joined(single_flight, work, 5)
    assert single_flight.is_running("key")
    work.end.set()
    assert await asyncio.gather(*callers) == ["result 1"] * 5


async def test_other_keys_are_other_work() -> None:
    """Work is done once for each key."""
    single_flight, work = SingleFlight[str](), Work()
    callers = await joined(single_flight, work, 1, "one") + await joined(single_flight, work, 1, "two")
    work.end.set()
    await asyncio.gather(*callers)
    assert work.begun == 2


async def test_nothing_is_kept() -> None:
    """The result is not cached: a caller after the end begins new work."""
    single_flight, work = SingleFlight[str](), Work()
    work.end.set()
    assert await single_flight.join("key", work) == "result 1"
    assert await single_flight.join("key", work) == "result 2"


async def test_a_failure_is_shared_and_not_kept() -> None:
    """All callers get the exception; the next caller tries again."""
    single_flight, work = SingleFlight[str](), Work()
    work.failure = Overloaded("Too much.")
    callers = await joined(single_flight, work, 3)
    work.end.set()
    assert await asyncio.gather(*callers, return_exceptions=True) == [work.failure] * 3
    work.failure = None
    assert await single_flight.join("key", work) == "result 2"


async def test_a_caller_who_leaves_does_not_affect_the_others() -> None:
    """Any caller except the last may leave without affecting the others, even the one who began the work."""
    single_flight, work = SingleFlight[str](), Work()
    callers = await joined(single_flight, work, 3)
    for quitter in callers[:2]:
        quitter.cancel()
    await asyncio.wait(callers[:2])
    work.end.set()
    assert await callers[2] == "result 1"
    assert work.cancelled == 0


async def test_the_work_is_cancelled_when_the_last_caller_has_left() -> None:
    """When the last caller leaves, the work is cancelled."""
    single_flight, work = SingleFlight[str](), Work()
    callers = await joined(single_flight, work, 3)
    for quitter in callers:
        quitter.cancel()
    await asyncio.wait(callers)
    await until(lambda: work.cancelled == 1, "the work was cancelled")
    assert work.begun == 1


async def test_an_error_after_the_last_caller_has_left_is_not_logged() -> None:
    """If the work fails after its last caller has left, asyncio does not log the error as never retrieved."""
    single_flight, logged, others = SingleFlight[str](), list[dict[str, Any]](), asyncio.all_tasks()
    begun = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))

    async def fail_when_cancelled() -> str:
        begun.set()
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            return await never
        except asyncio.CancelledError:
            raise Overloaded("Too much.") from None

    caller = asyncio.create_task(single_flight.join("key", fail_when_cancelled))
    await until(begun.is_set, "the work began")
    caller.cancel()
    await until(lambda: asyncio.all_tasks() == others, "the work has ended")
    del caller  # its traceback refers to the work
    gc.collect()
    assert logged == []


async def test_a_caller_after_the_cancellation_begins_anew() -> None:
    """A caller that arrives just after the last one has left begins new work, and gets the result of that work."""
    single_flight, work = SingleFlight[str](), Work()
    (quitter,) = await joined(single_flight, work, 1)
    quitter.cancel()
    await asyncio.wait({quitter})
    later = asyncio.create_task(single_flight.join("key", work))
    await until(lambda: work.begun == 2, "the later caller began")
    work.end.set()
    assert await later == "result 2"
    assert work.cancelled == 1
