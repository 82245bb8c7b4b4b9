"""The cache for a function's latest result: concurrent callers share one call, and a recent result is reused."""

from __future__ import annotations

import asyncio

import pytest

from pycalc.observability.recent import Recent

pytestmark = pytest.mark.anyio


class Source:
    """A function that counts its calls; each call ends when the test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.now = 100.0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def call(self) -> int:
        """Wait until the test opens the gate; return the number of calls, or raise the test's error."""
        self.calls += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.calls

    def clock(self) -> float:
        """Return the test's time."""
        return self.now


async def test_a_thousand_concurrent_callers_make_one_call() -> None:
    """A thousand concurrent callers share one call; cancelling one caller does not affect the others."""
    source = Source()
    recent = Recent(source.call, 1.0, source.clock)
    asking = [asyncio.ensure_future(recent.get()) for _ in range(1_000)]
    await asyncio.sleep(0)
    asking.pop(0).cancel()
    source.gate.set()
    assert set(await asyncio.gather(*asking)) == {1}
    assert source.calls == 1


async def test_a_result_is_made_anew_when_it_is_too_old() -> None:
    """The function is called again one second after the last call began."""
    source = Source()
    source.gate.set()
    recent = Recent(source.call, 1.0, source.clock)
    assert await recent.get() == 1
    source.now += 0.99
    assert await recent.get() == 1
    source.now += 0.01
    assert await recent.get() == 2


async def test_an_error_is_kept_as_long() -> None:
    """An error is shared for as long as a result, so that callers do not overload a failing dependency."""
    source = Source()
    source.gate.set()
    source.error = ValueError("away")
    recent = Recent(source.call, 1.0, source.clock)
    for _ in range(2):
        with pytest.raises(ValueError, match="away"):
            await recent.get()
    assert source.calls == 1
    source.now += 1
    source.error = None
    assert await recent.get() == 2
