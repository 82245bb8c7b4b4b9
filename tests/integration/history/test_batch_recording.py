"""Recording of batches: with a failing database, and beside other work on the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import httpx
import pytest

from pycalc.db.history import SqlHistoryStore
from pycalc.errors import StoreUnavailable
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.services.operations.fibonacci import Fibonacci
from pycalc.services.operations.integer_operation import Integers
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, history_of, new_name, registration

pytestmark = pytest.mark.anyio


def item(operation: str, **operands: object) -> dict[str, object]:
    """Return one item of a batch."""
    return {"operation": operation, "input": operands}


@pytest.fixture
async def caller(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the client, logged in."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    return client


async def test_a_failed_commit_records_nothing(caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the commit fails, the batch gets 503 and nothing is recorded; a retry records the batch in one append."""
    appended: list[Sequence[HistoryRow]] = []
    real = SqlHistoryStore.append

    async def failing(store: SqlHistoryStore, rows: Sequence[HistoryRow], keys: Sequence[KeyRow] = ()) -> None:
        raise StoreUnavailable("The database is not available.")

    async def counting(store: SqlHistoryStore, rows: Sequence[HistoryRow], keys: Sequence[KeyRow] = ()) -> None:
        appended.append(rows)
        await real(store, rows, keys)

    operations = {"operations": [item("fibonacci", n=n) for n in range(300)]}
    monkeypatch.setattr(SqlHistoryStore, "append", failing)
    answer = await caller.post("/batch", json=operations)
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs/problems#unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    monkeypatch.setattr(SqlHistoryStore, "append", counting)
    assert await history_of(caller) == []
    assert (await caller.post("/batch", json=operations)).status_code == 200
    assert [len(rows) for rows in appended] == [300]
    assert len((await caller.get("/secure-history?limit=1000")).json()["items"]) == 300


async def test_a_row_that_the_database_rejects_is_an_internal_error(
    caller: httpx.AsyncClient, settings: Settings
) -> None:
    """If the database rejects a row, its calculation gets 500 and is not recorded; OpenAPI documents this answer."""
    with closing(sqlite3.connect(settings.data_dir / "pycalc.db")) as shell:
        shell.execute(
            "CREATE TRIGGER no_factorial BEFORE INSERT ON history WHEN NEW.operation = 'factorial' "
            "BEGIN SELECT RAISE(ABORT, 'a constraint that the row breaks'); END"
        )
        shell.commit()
    batch = {"operations": [item("fibonacci", n=7), item("factorial", n=7)]}
    document = (await caller.get("/openapi.json")).json()
    for answer, documented in [
        (await caller.get("/factorial/7"), document["paths"]["/factorial/{n}"]["get"]["responses"]),
        (await caller.post("/batch", json=batch), document["paths"]["/batch"]["post"]["responses"]),
    ]:
        assert (answer.status_code, answer.json()["type"]) == (500, "/docs/problems#internal-error")
        assert answer.json()["detail"] == "The service made an error; tell the operator, whose log has the details."
        assert answer.headers["X-Request-ID"]
        assert str(answer.status_code) in documented
    assert (await caller.get("/fibonacci/7")).status_code == 200
    assert [row["operation"] for row in await history_of(caller)] == ["fibonacci"]


async def test_a_batch_yields_to_other_requests(caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a batch computes small calculations on the event loop, other callbacks run in between."""
    turns = 0
    seen: set[int] = set()
    compute = Fibonacci.compute

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def computing(operation: Fibonacci, args: Integers, precision: int) -> bytes:
        seen.add(turns)
        return compute(operation, args, precision)

    monkeypatch.setattr(Fibonacci, "compute", computing)
    others = asyncio.create_task(take_turns())
    operations = [item("fibonacci", n=50_000 + k) for k in range(500)]
    answer = await caller.post("/batch", json={"operations": operations})
    others.cancel()
    assert all("result" in told for told in answer.json()["results"])
    assert len(seen) > 5
