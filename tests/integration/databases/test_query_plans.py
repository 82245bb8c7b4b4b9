"""Query plans: reads of the history follow an index or the primary key, and do not sort."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, Table, event

from pycalc.db import open_database
from pycalc.db.base import Database, HistoryFilter, Rows
from pycalc.db.history import SqlHistoryStore
from pycalc.models.ids import first_id_of_ms
from tests.harness.stores import USER_ID

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Read = Callable[[SqlHistoryStore], Awaitable[object]]

EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
INDEXED = {"sqlite": ("USING INDEX ix_history", "USING PRIMARY KEY"), "postgresql": ("Index Scan",)}
FORBIDDEN = {"sqlite": ("TEMP B-TREE", "MULTI-INDEX"), "postgresql": ("Sort", "Seq Scan", "Bitmap")}
# Settings that discourage sequential scans and sorts, which PostgreSQL prefers for small tables.
LARGE_TABLE = {
    "sqlite": (),
    "postgresql": [f"SET LOCAL enable_{way} = off" for way in ("seqscan", "bitmapscan", "sort")],
}
OTHER = bytes(16)
CURSOR = first_id_of_ms(1_700_000_000_000)
SINCE, UNTIL = first_id_of_ms(1_600_000_000_000), first_id_of_ms(1_800_000_000_000)
OWN = (USER_ID,)
SELECTIONS = {
    "own": HistoryFilter(OWN),
    "own, by operation": HistoryFilter(OWN, "pow"),
    "own, by time": HistoryFilter(OWN, None, SINCE, UNTIL),
    "own, by operation and time": HistoryFilter(OWN, "pow", SINCE, UNTIL),
    "everyone's, by operation": HistoryFilter(None, "pow"),
    "everyone's, by time": HistoryFilter(None, None, SINCE, UNTIL),
    "everyone's, by operation and time": HistoryFilter(None, "pow", SINCE, UNTIL),
    "own, by the clock": HistoryFilter(OWN, "pow", SINCE, UNTIL, 1_600_000_000_000, 1_800_000_000_000),
    "a name's, that several had": HistoryFilter((USER_ID, OTHER), "pow"),
}


class ExplainedDatabase:
    """A database that keeps the query plan of each statement."""

    shared = False

    def __init__(self, database: Database) -> None:
        self._database = database
        self.plans: list[str] = []
        self.statements: list[str] = []

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(lambda connection: self._explain(connection, work))

    def _explain(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        statements: list[tuple[str, Any]] = []

        def keep(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
            statements.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", keep)
        done = work(connection)
        event.remove(connection, "before_cursor_execute", keep)
        for option in LARGE_TABLE[connection.dialect.name]:
            connection.exec_driver_sql(option)
        for statement, parameters in statements:
            self.statements.append(statement)
            plan = connection.exec_driver_sql(f"{EXPLAIN[connection.dialect.name]} {statement}", parameters)
            self.plans.append("\n".join(" ".join(map(str, row)) for row in plan))
        return done

    def queue_lengths(self) -> Mapping[str, int]:
        return self._database.queue_lengths()

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        return await self.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self._database.write(work)

    async def insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None = None) -> None:
        await self._database.insert(table, rows, also)

    async def ping(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[ExplainedDatabase]:
    """Open an empty database: SQLite and PostgreSQL in turn."""
    opened = await open_database(database_url)
    yield ExplainedDatabase(opened)
    await opened.aclose()


async def plans_of(database: ExplainedDatabase, read: Read) -> tuple[str, list[str]]:
    """Run a read, and return the kind of database and the query plans of the read's statements."""
    await read(SqlHistoryStore(database))
    kind = await database.write(lambda connection: connection.dialect.name)
    return kind, database.plans


@pytest.mark.parametrize(
    "read",
    [
        lambda store, selection: store.page(selection, None, 51),
        lambda store, selection: store.page(selection, CURSOR, 51),
        lambda store, selection: store.following(selection, CURSOR, 200),
    ],
    ids=["newest page", "deep page", "following"],
)
@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
async def test_a_selection_is_found_by_an_index_in_its_order(
    database: ExplainedDatabase, selection: HistoryFilter, read: Callable[[SqlHistoryStore, HistoryFilter], Any]
) -> None:
    """For every filter, the history is read by an index, in the index's order and without sorting."""
    kind, plans = await plans_of(database, lambda store: read(store, selection))
    assert len(plans) == len(selection.user_ids or OWN)
    for plan in plans:
        assert any(mark in plan for mark in INDEXED[kind]), plan
        assert not any(mark in plan for mark in (*FORBIDDEN[kind], "SCAN history")), plan


@pytest.mark.parametrize("read", ["page", "following"])
async def test_a_search_has_one_bound_on_each_side(database: ExplainedDatabase, read: str) -> None:
    """A time filter and a cursor become one lower and one upper bound of the id, as an index search needs."""
    await getattr(SqlHistoryStore(database), read)(SELECTIONS["own, by time"], CURSOR, 51)
    (statement,) = database.statements
    conditions = statement.partition("WHERE")[2].partition("ORDER")[0]
    assert (conditions.count("<"), conditions.count(">")) == (1, 1)


async def test_everyones_newest_are_the_end_of_the_table(database: ExplainedDatabase) -> None:
    """Without a filter, the newest calculations are read in the order of the primary key, without sorting."""
    kind, plans = await plans_of(database, lambda store: store.page(HistoryFilter(), None, 51))
    assert len(plans) == 1
    assert not any(mark in plans[0] for mark in FORBIDDEN[kind]), plans[0]


async def test_a_prune_looks_up_dead_letters_by_an_index(database: ExplainedDatabase) -> None:
    """A prune does not read all dead letters, of which there may be many after a stream refused everything."""
    _, plans = await plans_of(database, lambda store: store.prune(CURSOR, 200))
    assert len(plans) == 1
    assert "ix_dead_letters_event_id" in plans[0], plans[0]


async def test_an_equality_is_part_of_the_search(database: ExplainedDatabase) -> None:
    """On SQLite, a page of one user and operation is read by the index of user, operation and id."""
    kind, (plan,) = await plans_of(database, lambda store: store.page(HistoryFilter(OWN, "pow"), CURSOR, 51))
    if kind == "postgresql":
        pytest.skip("PostgreSQL chooses among indexes by statistics, and an empty table has none")
    assert "USING INDEX ix_history_user_id_operation_id (user_id=? AND operation=? AND id<?)" in plan
