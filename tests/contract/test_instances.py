"""Contract tests for the store of running processes, with every database."""

from __future__ import annotations

import pytest

from pycalc.db.base import Database, Instance
from pycalc.db.instances import SqlInstanceStore

pytestmark = pytest.mark.anyio


async def test_processes_are_replaced_and_forgotten(database: Database) -> None:
    """A process's report replaces its earlier report, and removes all reports that are older than a given time."""
    store = SqlInstanceStore(database)
    first, second = (Instance(bytes(15) + bytes([n]), "serve", "1.0", 10 * n, 10 * n, "{}") for n in (1, 2))
    await store.report(second, 0)
    await store.report(first, 0)
    assert await store.all(10) == [first, second]
    assert await store.all(1) == [first]
    later = first._replace(seen_ms=70, figures='{"a": 1}')
    await store.report(later, 20)
    assert await store.all(10) == [later, second]
    await store.report(later, 21)
    assert await store.all(10) == [later]
    await store.forget(later.id)
    assert await store.all(10) == []
