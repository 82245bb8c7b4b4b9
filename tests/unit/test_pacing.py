"""Times that tell nothing: a conflict takes as long as a success."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from pycalc.errors import Conflict, Forbidden
from pycalc.services.pacing import Pace

pytestmark = pytest.mark.anyio

SECONDS = 0.05


async def succeed() -> None:
    """Take a while."""
    await asyncio.sleep(SECONDS)


async def conflict() -> None:
    """Find out at once that something is taken."""
    raise Conflict("taken")


async def refuse() -> None:
    """Refuse for a reason that everybody may know."""
    raise Forbidden("no")


async def test_a_conflict_takes_as_long_as_a_success() -> None:
    """As a former one did; before the first there is nothing to go by."""
    pace = Pace()
    with pytest.raises(Conflict):
        await pace.keep(conflict())
    await pace.keep(succeed())
    began = perf_counter()
    with pytest.raises(Conflict):
        await pace.keep(conflict())
    assert perf_counter() - began >= SECONDS


async def test_other_refusals_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no secret, and nobody's thread is held for them."""

    def never(_: float) -> None:
        raise AssertionError("waited")

    monkeypatch.setattr("pycalc.services.pacing.sleep", never)
    pace = Pace()
    await pace.keep(succeed())
    with pytest.raises(Forbidden):
        await pace.keep(refuse())
