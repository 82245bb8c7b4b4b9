"""The quota keeper, which adds up the use of quotas in all processes; its tests run in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter

import pytest

from pycalc.errors import Overloaded, QuotaExceeded, StoreUnavailable
from pycalc.models.limits import UserLimit, UserLimits
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.quota_keeper import QuotaKeeper
from pycalc.services.limits.quotas import WindowQuota
from tests.harness.callers import caller
from tests.harness.stores import MemoryQuotaStore
from tests.harness.virtual_time import in_virtual_time, now

AN_HOUR = UserLimits(compute=UserLimit(300, 3_600))
ADA, BOB = caller(bytes([1]) * 16, AN_HOUR), caller(bytes([2]) * 16, AN_HOUR)


def new_quota(name: str = "compute") -> WindowQuota:
    """Return a quota of computing time or of bytes."""
    return WindowQuota(name, "seconds", "seconds", attrgetter(name), Metrics(), clock=now)


def used(quota: WindowQuota) -> float | None:
    """Return how many seconds Ada has used, or None if she has no quota."""
    return next((state["used"] for state in quota.states(ADA)), None)


@asynccontextmanager
async def process(store: MemoryQuotaStore) -> AsyncIterator[WindowQuota]:
    """Run the quota keeper of one process on this store, and yield the process's quota of computing time."""
    quota = new_quota()
    keeper = QuotaKeeper(store, [quota, new_quota("digits")])
    try:
        yield quota
    finally:
        await keeper.aclose()


@in_virtual_time
async def test_processes_add_up() -> None:
    """Charges of three processes add up exactly; 3 s later, each process refuses use above the quota."""
    store = MemoryQuotaStore()
    async with process(store) as first, process(store) as second, process(store) as third:
        for charge in (40.25, 50.5):
            for each in (first, second, third):
                each.charge(ADA, charge)
            await asyncio.sleep(3)
        for each in (first, second, third):
            each.charge(ADA, 0.25)
        await asyncio.sleep(3)
        for each in (first, second, third):
            assert used(each) == 3 * (40.25 + 50.5 + 0.25)
            each.require(ADA, 27.0)
            with pytest.raises(QuotaExceeded):
                each.require(ADA, 27.5)
            each.require(BOB, 300.0)


@in_virtual_time
async def test_a_restart_forgets_nothing() -> None:
    """Closing a process stores all its charges; the next process knows them 1.5 s after its first charge."""
    store = MemoryQuotaStore()
    async with process(store) as before:
        before.charge(ADA, 299.5)
    async with process(store) as after:
        after.charge(ADA, 0.75)
        await asyncio.sleep(1.5)
        with pytest.raises(QuotaExceeded):
            after.require(ADA)
        assert used(after) == 300.25


@in_virtual_time
async def test_charges_outlast_an_outage_of_the_database() -> None:
    """While the database is away, charges stay in force in their process; afterwards they are stored once."""
    store = MemoryQuotaStore()
    store.failure = StoreUnavailable("The database is not available.")
    async with process(store) as quota:
        quota.charge(ADA, 200.0)
        await asyncio.sleep(60)
        with pytest.raises(QuotaExceeded):
            quota.require(ADA, 100.5)
        store.failure = None
        quota.charge(ADA, 1.0)
        await asyncio.sleep(3)
        assert [use.used for use in store.uses.values()] == [201_000_000]


@in_virtual_time
async def test_ended_windows_are_forgotten() -> None:
    """The uses of ended windows are deleted, and the next window begins with nothing used."""
    store = MemoryQuotaStore()
    async with process(store) as quota:
        quota.charge(ADA, 300.0)
        await asyncio.sleep(3)
        await asyncio.sleep(2 * 3_600)
        quota.require(ADA, 300.0)
        assert store.uses == {}


@in_virtual_time
async def test_a_refund_after_the_window_s_end_is_stored_nowhere() -> None:
    """If a charge is refunded in the next window, every process still admits exactly the next window's quota."""
    store = MemoryQuotaStore()
    async with process(store) as first, process(store) as second:
        await asyncio.sleep(3_600 - now() % 3_600 - 1)
        uses = first.spend(ADA, 200.0)
        await asyncio.sleep(2)
        first.add(uses, -200.0)
        await asyncio.sleep(3)
        second.require(ADA)
        await asyncio.sleep(3)
        for each in (first, second):
            each.require(ADA, 300.0)
            with pytest.raises(QuotaExceeded):
                each.require(ADA, 300.5)
            assert used(each) == 0.0


@in_virtual_time
async def test_a_process_asks_for_what_others_have_charged_before_it_charges() -> None:
    """A process knows a user's earlier use 1.5 s after the user's first request, even if that request costs nothing."""
    store = MemoryQuotaStore()
    async with process(store) as before:
        before.charge(ADA, 299.5)
    async with process(store) as after:
        after.require(ADA, 1.0)
        await asyncio.sleep(1.5)
        with pytest.raises(QuotaExceeded):
            after.require(ADA, 1.0)


@in_virtual_time
async def test_what_is_shown_includes_other_processes() -> None:
    """The quota states for ``GET /usage`` include the charges that other processes have stored.

    While the database is unavailable, the states last read are returned. A caller with too many waiting reads gets
    Overloaded.
    """
    store = MemoryQuotaStore()
    async with process(store) as before:
        before.charge(ADA, 299.5)
    quota = new_quota()
    keeper = QuotaKeeper(store, [quota, new_quota("digits")])
    assert [state["used"] for state in await keeper.states(ADA)] == [299.5]
    store.failure = StoreUnavailable("The database is not available.")
    assert [state["used"] for state in await keeper.states(ADA)] == [299.5]
    store.failure = Overloaded("Too many of your requests wait.")
    with pytest.raises(Overloaded):
        await keeper.states(ADA)
    store.failure = None
    await keeper.aclose()
