"""Contract tests for idempotency keys, with every database."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from pycalc.db import open_database, tables
from pycalc.db.base import ROWS_PER_STATEMENT, Database, HistoryFilter
from pycalc.db.history import SqlHistoryStore, SqlIdempotencyStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.rows import arrays_inserts
from pycalc.errors import KeysTaken, RowsRejected
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.models.ids import IdSource
from tests.harness.stores import history_row

pytestmark = pytest.mark.anyio

ids = IdSource()
NOW = 1_800_000_000_000


@pytest.fixture
def history(database: Database) -> SqlHistoryStore:
    """Return the store of an empty history."""
    return SqlHistoryStore(database)


@pytest.fixture
def keys(database: Database) -> SqlIdempotencyStore:
    """Return the store of idempotency keys."""
    return SqlIdempotencyStore(database)


def key_of(*rows: HistoryRow, created_ms: int = NOW, problems: bytes | None = None) -> KeyRow:
    """Return a new idempotency key of a request that records these rows; ``problems`` are those of its failed items."""
    return KeyRow(ids.next(), b"f" * 16, b"".join(row.id for row in rows), problems, created_ms)


async def recorded(history: SqlHistoryStore) -> set[bytes]:
    """Return the ids of all rows of the history."""
    return {row.id for row in await history.page(HistoryFilter(), None, 10_000)}


async def test_keys_are_stored_with_their_rows(
    history: SqlHistoryStore, keys: SqlIdempotencyStore, database: Database
) -> None:
    """History rows, their events and their idempotency keys are stored together; an unknown key is not found."""
    alone, *batch = (history_row(number) for number in range(2 * ROWS_PER_STATEMENT))
    single, several = key_of(alone), key_of(*batch, problems=b"problems")
    await history.append([alone, *batch], [several, single])
    assert [await keys.find(key.id) for key in (single, several)] == [single, several]
    assert several.calculation_ids == [row.id for row in batch]
    assert await keys.find(ids.next()) is None
    assert await recorded(history) == {row.id for row in (alone, *batch)}
    assert len(await SqlOutboxStore(database).pending(1_000)) == 2 * ROWS_PER_STATEMENT


async def test_a_key_that_is_taken_stores_nothing(
    history: SqlHistoryStore, keys: SqlIdempotencyStore, database: Database
) -> None:
    """If a key is already recorded, no row, event or key is stored, and the error names the key."""
    first = history_row()
    stored = key_of(first)
    await history.append([first], [stored])
    second, third = history_row(), history_row()
    again, new = key_of(second)._replace(id=stored.id), key_of(third)
    with pytest.raises(KeysTaken) as refusal:
        await history.append([second, third], [again, new])
    assert refusal.value.ids == {stored.id}
    assert await keys.find(stored.id) == stored
    assert await keys.find(new.id) is None
    assert await recorded(history) == {first.id}
    assert len(await SqlOutboxStore(database).pending(10)) == 1


async def test_a_rejected_row_stores_no_key(history: SqlHistoryStore, keys: SqlIdempotencyStore) -> None:
    """If a row of a batch is rejected, or a key occurs twice in the batch, nothing of the batch is stored."""
    row, other = history_row(), history_row()
    await history.append([row])
    with pytest.raises(RowsRejected):
        await history.append([row], [key := key_of(row)])
    with pytest.raises(RowsRejected):
        await history.append([other], [key, key_of(other)._replace(id=key.id)])
    assert await keys.find(key.id) is None
    assert await recorded(history) == {row.id}


async def test_rows_are_found_in_the_order_of_their_ids(history: SqlHistoryStore) -> None:
    """``find_all`` returns history rows in the order of the given ids, and leaves out ids without rows."""
    rows = [history_row(number) for number in range(1_000)]
    await history.append(rows)
    wanted = [rows[999], rows[0], *rows[500:900]]
    assert await history.find_all([wanted[0].id, ids.next(), *(row.id for row in wanted[1:])]) == wanted
    assert await history.find_all([]) == []


async def test_old_keys_are_forgotten(history: SqlHistoryStore, keys: SqlIdempotencyStore) -> None:
    """Forgetting deletes the oldest keys in batches, but none made at the given time or later."""
    rows = [history_row(number) for number in range(7)]
    stored = [key_of(row, created_ms=NOW - 2 + number) for number, row in enumerate(rows)]
    await history.append(rows, stored[::-1])
    assert [await keys.forget(NOW + 3, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert [await keys.find(key.id) for key in stored] == [None] * 5 + stored[5:]
    assert len(await recorded(history)) == 7


@pytest.mark.programs
async def test_several_clients_record_a_key_once(postgres_url: str) -> None:
    """If several database clients append batches with the same keys at once, exactly one batch is stored."""
    databases = [await open_database(postgres_url) for _ in range(3)]
    rounds = 20
    for _ in range(rounds):
        names = [ids.next() for _ in range(5)]

        async def record(database: Database, order: int, names: list[bytes] = names) -> bool | None:
            rows = [history_row() for _ in names]
            own = [key_of(row)._replace(id=name) for row, name in zip(rows, names[::order], strict=True)]
            try:
                await SqlHistoryStore(database).append(rows, own)
            except KeysTaken as error:
                return error.ids == set(names)
            return None

        done = await asyncio.gather(*(record(each, order) for each in databases for order in (1, -1)))
        assert (done.count(None), done.count(True)) == (1, 5)
    assert len(await recorded(SqlHistoryStore(databases[0]))) == 5 * rounds
    for database in databases:
        await database.aclose()


@pytest.mark.programs
async def test_a_repeated_insert_skips_only_its_own_rows(postgres_url: str) -> None:
    """An INSERT repeated after a lost reply skips stored rows; a key that another request has stored is an error."""
    database = await open_database(postgres_url)
    row, other = history_row(), history_row()
    key = key_of(row)

    async def repeat(row: HistoryRow, key: KeyRow) -> None:
        statement = arrays_inserts(tables.history, tables.idempotency_keys, repeated=True)
        columns = tuple([value] for value in (*row, *key))
        await database.write(lambda connection: connection.exec_driver_sql(statement, columns))

    await SqlHistoryStore(database).append([row], [key])
    await repeat(row, key)
    with pytest.raises(IntegrityError):
        await repeat(other, key_of(other)._replace(id=key.id))
    await repeat(other, new := key_of(other, problems=b"problems"))
    await repeat(other, new)
    assert await recorded(SqlHistoryStore(database)) == {row.id, other.id}
    assert await SqlIdempotencyStore(database).find(key.id) == key
    await database.aclose()
