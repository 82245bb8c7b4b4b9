"""PostgreSQL's own promises: a server that goes away, comes back, hangs, or is lost in the middle of a commit."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from time import monotonic

import httpx
import pytest
from sqlalchemy import text

from pycalc.db import migrate_database, open_database
from pycalc.db.base import Database, HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.errors import StoreUnavailable
from pycalc.models.history import HistoryRow
from tests.services.accounts import Person, new_person
from tests.services.postgres import Postgres, missing, postgres
from tests.services.proxy import proxy
from tests.services.servers import pycalc
from tests.services.stores import history_row
from tests.services.waiting import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.programs, pytest.mark.serial]
ALL = HistoryFilter()


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    """Run a server that these tests may stop."""
    if missing():
        pytest.skip(missing() or "")
    with postgres() as running:
        yield running


@pytest.fixture
def url(own_server: Postgres) -> str:
    """Return the URL of an empty, migrated database."""
    url = own_server.new_database()
    asyncio.run(migrate_database(url))
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Open it."""
    opened = await open_database(url)
    yield opened
    await opened.aclose()


@contextmanager
def hanging(server: Postgres) -> Iterator[None]:
    """Keep every process of the server from running."""
    pids = server.processes()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def recovered(history: SqlHistoryStore) -> tuple[HistoryRow, float]:
    """Return the first row that can be appended again, and how long that took, seconds."""
    began = monotonic()
    while True:
        row = history_row()
        try:
            await history.append([row])
        except StoreUnavailable:
            assert monotonic() - began < 10
        else:
            return row, monotonic() - began


async def test_commits_are_durable(own_server: Postgres, url: str, database: Database) -> None:
    """A server whose default is to answer before the disk has the commit is told otherwise."""
    name = url.rpartition("/")[2]
    own_server.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    opened = await open_database(url)
    try:
        shown = await opened.write(lambda connection: connection.scalar(text("SHOW synchronous_commit")))
    finally:
        await opened.aclose()
    assert shown == "on"


async def test_a_restart_costs_no_row(own_server: Postgres, database: Database) -> None:
    """After a restart as good as a crash the first append finds its connections dead, and is stored all the same."""
    history = SqlHistoryStore(database)
    rows = [history_row(number) for number in range(4)]
    await history.append(rows[:2])
    own_server.restart("immediate")
    await history.append(rows[2:])
    assert await history.page(ALL, None, 10) == rows[::-1]


async def test_a_commit_whose_answer_is_lost_is_stored_once(own_server: Postgres, url: str) -> None:
    """The server committed, the connection was cut before it said so: the append succeeds, with each row once."""
    async with proxy(own_server.port) as between:
        database = await open_database(url.replace(str(own_server.port), str(between.port)))
        history = SqlHistoryStore(database)
        rows = [history_row(number) for number in range(3)]
        await history.append(rows[:1])
        between.swallow_answers_to = rows[1].id
        await history.append(rows[1:])
        assert between.swallowed == 1
        assert await history.page(ALL, None, 10) == rows[::-1]
        await database.aclose()


async def test_a_server_that_is_down_is_unavailability_and_recovers(own_server: Postgres, database: Database) -> None:
    """Reads and appends are refused within two seconds each; within one of the server's return all is well."""
    history = SqlHistoryStore(database)
    await history.append([history_row()])
    own_server.stop("immediate")
    try:
        for act in (history.append([history_row()]), history.page(ALL, None, 1), database.ping()):
            began = monotonic()
            with pytest.raises(StoreUnavailable):
                await act
            assert monotonic() - began < 2
    finally:
        own_server.start()
    row, seconds = await recovered(history)
    assert seconds < 1
    assert row in await history.page(ALL, None, 10)


async def test_a_server_that_hangs_is_unavailability_within_two_seconds(
    own_server: Postgres, database: Database
) -> None:
    """A stopped server, connections open, answers nobody: callers are told, and served when it runs again."""
    history = SqlHistoryStore(database)
    await history.append([history_row()])
    with hanging(own_server):
        for act in (history.append([history_row()]), history.page(ALL, None, 1), database.ping()):
            began = monotonic()
            with pytest.raises(StoreUnavailable):
                await act
            assert monotonic() - began < 2
    row, seconds = await recovered(history)
    assert seconds < 1
    assert row in await history.page(ALL, None, 10)


@pytest.mark.parametrize(("lane", "connections"), [("read", 6), ("write", 3)])
async def test_what_takes_all_connections_of_a_lane_does_not_keep_rows_out(
    database: Database, lane: str, connections: int
) -> None:
    """While every reading, or writing, connection is busy, more of that is refused in time and appends go on."""
    history = SqlHistoryStore(database)
    run = database.read if lane == "read" else database.write
    slow = [
        asyncio.ensure_future(run(lambda connection: connection.execute(text("SELECT pg_sleep(5)"))))
        for _ in range(connections)
    ]
    await asyncio.sleep(0)
    assert database.under_way()[lane] == connections
    began = monotonic()
    one_more = asyncio.ensure_future(run(lambda connection: connection.execute(text("SELECT 1"))))
    await history.append([history_row()])
    assert monotonic() - began < 0.9
    outcomes = await asyncio.gather(one_more, *slow, return_exceptions=True)
    assert monotonic() - began < 2.5
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes[1:])
    assert len(await history.page(ALL, None, 10)) == 1


async def test_more_than_can_wait_is_refused_at_once(database: Database) -> None:
    """The queue of waiting work is bounded."""
    outcomes = await asyncio.gather(*(database.ping() for _ in range(400)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert all(isinstance(outcome, StoreUnavailable) for outcome in refused)
    assert sum("too much to do" in str(outcome) for outcome in refused) == 400 - 256


async def test_a_database_that_takes_no_writes_is_not_well(own_server: Postgres, url: str, database: Database) -> None:
    """Made read-only, as a failover may leave it: the ping says so while that lasts, and no restart is needed."""
    name, history = url.rpartition("/")[2], SqlHistoryStore(database)
    own_server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    own_server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pycalc'")
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="read-only"):
            await database.ping()
        with pytest.raises(StoreUnavailable):
            await history.append([history_row()])
        with pytest.raises(StoreUnavailable):
            await history.probe()
    with pytest.raises(StoreUnavailable, match="read-only"):
        await open_database(url)
    own_server.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    for _ in range(5):
        await database.ping()
        await history.append([history_row()])
        await history.probe()
    assert len(await history.page(ALL, None, 10)) == 5


async def test_an_unreachable_server_is_a_domain_error(own_server: Postgres) -> None:
    """Opening what is not there, or not ours, raises StoreUnavailable and leaves nothing open."""
    for url in ("postgresql://pycalc@127.0.0.1:1/pycalc", own_server.url("nowhere")):
        with pytest.raises(StoreUnavailable):
            await open_database(url)


def test_a_remembered_token_is_not_believed_while_the_database_hangs(own_server: Postgres, url: str) -> None:
    """A token in memory is refused with 503 when revocations could not be read for five seconds, and is good after."""
    with pycalc(database_url=url) as server, httpx.Client(base_url=server.url, timeout=15) as client:
        person = new_person(client)
        client.get("/fibonacci/10", headers=person.headers).raise_for_status()
        with hanging(own_server):
            wait_until(lambda: refused_at_the_door(client, person), "the token is refused", 10)
        wait_until(
            lambda: client.get("/fibonacci/10", headers=person.headers).status_code == 200, "it is good again", 5
        )


def refused_at_the_door(client: httpx.Client, person: Person) -> bool:
    """Whether a request that needs no database but for its token is answered 503: an impossible operand is 422 else."""
    return client.get("/fibonacci/-1", headers=person.headers).status_code == 503
