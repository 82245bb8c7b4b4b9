"""Single flight: made once, for everybody who wants it, as long as somebody does."""

from __future__ import annotations

import asyncio

import pytest

from pycalc.errors import Overloaded
from pycalc.services.calculations.single_flight import SingleFlight
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


class Work:
    """Work that ends when it is told to; counts how often it was begun and cancelled."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> str:
        """Do the work."""
        self.begun += 1
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return f"result {self.begun}"


async def joined(flights: SingleFlight[str], work: Work, callers: int, key: str = "key") -> list[asyncio.Task[str]]:
    """Return callers that are all waiting for the work under a key."""
    tasks = [asyncio.create_task(flights.join(key, work)) for _ in range(callers)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_several_callers_are_one_piece_of_work() -> None:
    """Everybody gets the same result, and while it is made it is under way."""
    flights, work = SingleFlight[str](), Work()
    assert not flights.under_way("key")
    callers = await joined(flights, work, 5)
    assert flights.under_way("key")
    work.end.set()
    assert await asyncio.gather(*callers) == ["result 1"] * 5


async def test_other_keys_are_other_work() -> None:
    """What is wanted under two keys is made twice."""
    flights, work = SingleFlight[str](), Work()
    callers = await joined(flights, work, 1, "one") + await joined(flights, work, 1, "two")
    work.end.set()
    await asyncio.gather(*callers)
    assert work.begun == 2


async def test_nothing_is_kept() -> None:
    """SingleFlight are no cache: who asks after the end begins anew."""
    flights, work = SingleFlight[str](), Work()
    work.end.set()
    assert await flights.join("key", work) == "result 1"
    assert await flights.join("key", work) == "result 2"


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    """All callers get the exception; the next one tries again."""
    flights, work = SingleFlight[str](), Work()
    work.failure = Overloaded("Too much.")
    callers = await joined(flights, work, 3)
    work.end.set()
    assert await asyncio.gather(*callers, return_exceptions=True) == [work.failure] * 3
    work.failure = None
    assert await flights.join("key", work) == "result 2"


async def test_one_caller_who_leaves_takes_nothing_from_the_others() -> None:
    """The one who had begun it may leave, and so may all but one."""
    flights, work = SingleFlight[str](), Work()
    callers = await joined(flights, work, 3)
    for quitter in callers[:2]:
        quitter.cancel()
    await asyncio.wait(callers[:2])
    work.end.set()
    assert await callers[2] == "result 1"
    assert work.cancelled == 0


async def test_the_work_is_cancelled_when_the_last_caller_has_left() -> None:
    """Nobody wants it any more."""
    flights, work = SingleFlight[str](), Work()
    callers = await joined(flights, work, 3)
    for quitter in callers:
        quitter.cancel()
    await asyncio.wait(callers)
    await until(lambda: work.cancelled == 1, "the work was cancelled")
    assert work.begun == 1


async def test_who_comes_after_the_cancellation_begins_anew() -> None:
    """In the same turn of the event loop in which the last one left: no result, no cancellation of the old work."""
    flights, work = SingleFlight[str](), Work()
    (quitter,) = await joined(flights, work, 1)
    quitter.cancel()
    await asyncio.wait({quitter})
    later = asyncio.create_task(flights.join("key", work))
    await until(lambda: work.begun == 2, "the later caller began")
    work.end.set()
    assert await later == "result 2"
    assert work.cancelled == 1
