"""Times that tell nothing: a conflict takes as long as a success."""

from __future__ import annotations

import asyncio

import pytest

from pycalc.errors import Conflict, Forbidden
from pycalc.services.accounts.pacing import Pace
from tests.harness.virtual_time import in_virtual_time, now

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


@in_virtual_time
async def test_a_conflict_takes_as_long_as_a_success() -> None:
    """As a former one did; before the first there is nothing to go by."""
    pace = Pace(now)
    with pytest.raises(Conflict):
        await pace.keep(conflict())
    await pace.keep(succeed())
    began = now()
    with pytest.raises(Conflict):
        await pace.keep(conflict())
    assert now() - began >= SECONDS


@in_virtual_time
async def test_other_refusals_do_not_wait() -> None:
    """They are no secret."""
    pace = Pace(now)
    await pace.keep(succeed())
    began = now()
    with pytest.raises(Forbidden):
        await pace.keep(refuse())
    assert now() - began < SECONDS


@in_virtual_time
async def test_who_waits_holds_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many conflicts wait, the threads are there for others."""

    def no_threads(*_: object) -> None:
        raise AssertionError("a thread was taken")

    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_threads)
    pace = Pace(now)
    await pace.keep(succeed())
    with pytest.raises(Conflict):
        await pace.keep(conflict())
