"""Contract tests for the store of quota usage, with every database."""

from __future__ import annotations

import pytest

from pycalc.db.base import Database, QuotaTotal, QuotaUse
from pycalc.db.quotas import SqlQuotaStore
from pycalc.models.ids import IdSource

pytestmark = pytest.mark.anyio

ids = IdSource()
ADA, BOB = ids.next(), ids.next()
NOW, HOUR = 1_800_000_000, 3_600


@pytest.fixture
def store(database: Database) -> SqlQuotaStore:
    """Return an empty store of quota usage."""
    return SqlQuotaStore(database)


def use(user: bytes, used: int, quota: str = "compute", ends: int = NOW + HOUR) -> QuotaUse:
    """Return a new process's entry: the amount that a user has used of a quota in the window that ends at ``ends``."""
    return QuotaUse(ids.next(), user, quota, ends, used)


async def test_uses_of_all_processes_add_up(store: SqlQuotaStore) -> None:
    """For each given user, quota and window, the amounts stored by all processes are added up.

    The entries with the given ids, which are the caller's own, are left out.
    """
    own, other = use(ADA, 5), use(ADA, 7 * 10**15)
    await store.save([own, other, use(ADA, 11), use(ADA, 13, "digits"), use(BOB, 17), use(ids.next(), 19)])
    totals = await store.totals([ADA, BOB], NOW, [own.id])
    assert sorted(totals) == sorted(
        [
            QuotaTotal(ADA, "compute", NOW + HOUR, 7 * 10**15 + 11),
            QuotaTotal(ADA, "digits", NOW + HOUR, 13),
            QuotaTotal(BOB, "compute", NOW + HOUR, 17),
        ]
    )
    assert await store.totals([ids.next()], NOW, []) == []


async def test_storing_again_replaces(store: SqlQuotaStore) -> None:
    """If an entry is stored again with the same or a larger amount, it replaces the earlier entry."""
    first = use(ADA, 5)
    await store.save([first])
    await store.save([first])
    await store.save([first._replace(used=8), use(ADA, 1)])
    await store.save([])
    assert await store.totals([ADA], NOW, []) == [QuotaTotal(ADA, "compute", NOW + HOUR, 9)]


async def test_a_delayed_write_replaces_no_later_one(store: SqlQuotaStore) -> None:
    """If an entry is stored again with a smaller amount, as by a delayed write, the stored entry does not change."""
    late = use(ADA, 5)
    await store.save([late._replace(used=8)])
    await store.save([late])
    assert await store.totals([ADA], NOW, []) == [QuotaTotal(ADA, "compute", NOW + HOUR, 8)]


async def test_ended_windows_do_not_count_and_are_forgotten(store: SqlQuotaStore) -> None:
    """An amount used in an ended window is not added up; ``forget`` deletes the entries of ended windows in batches."""
    await store.save([use(ADA, 1), *(use(ADA, 2, ends=NOW - number) for number in range(5))])
    assert await store.totals([ADA], NOW, []) == [QuotaTotal(ADA, "compute", NOW + HOUR, 1)]
    assert [await store.forget(NOW, 3) for _ in range(3)] == [3, 2, 0]
    assert await store.totals([ADA], 0, []) == [QuotaTotal(ADA, "compute", NOW + HOUR, 1)]
