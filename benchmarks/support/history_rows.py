"""A history of any size, written straight into a database and kept for later runs of the benchmark."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import gmpy2
from sqlalchemy import delete

from pycalc.db import open_database
from pycalc.db.base import Database, HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.tables import history, outbox
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import Role, User
from pycalc.models.history import HistoryRow
from pycalc.models.ids import first_id_of_ms, text_of_id, unix_ms, unix_ms_of_id
from pycalc.models.results import STORED_DIGITS
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.passwords import PasswordHasher
from tests.harness.accounts import PASSWORD

# The URL of each history's database. ``{folder}`` and ``{rows}`` become the history's folder and size. A URL must
# contain one of them, so that each size has its own database.
URL = os.environ.get("BENCH_DATABASE_URL", "sqlite:///{folder}/pycalc.db")
ADMIN = "admin"
USERS = [f"user-{number:03}" for number in range(200)]
# The rows follow Zipf's law: of 10 million, the first user has 1.7 million and the last 8,500.
_SHARES = list(accumulate(1 / rank for rank in range(1, len(USERS) + 1)))
PASSWORD_KEY = "p" * 32
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)
# The rows are spread evenly over a thousand days.
_SPAN_MS = 1_000 * 86_400_000
_AT_ONCE = 10_000


class History(NamedTuple):
    """A recorded history: the number of its rows, the service's data folder, and the database's URL."""

    rows: int
    # The data folder of the service.
    folder: Path
    url: str

    def moment_ms(self, share: float) -> int:
        """Return the time before which a share (0 to 1) of the rows was recorded, in milliseconds since the epoch."""
        return unix_ms(_FIRST) + round(share * _SPAN_MS)

    def numbered(self, unix_ms: int) -> int:
        """Return the number of the row that was recorded at a time; the oldest row has the number 0."""
        return round((unix_ms - self.moment_ms(0)) / _SPAN_MS * self.rows)

    def moment(self, share: float) -> str:
        """Return the time before which a share (0 to 1) of the rows was recorded, as RFC 3339 text."""
        return datetime.fromtimestamp(self.moment_ms(share) / 1000, UTC).isoformat(timespec="milliseconds")

    def cursor(self, share: float) -> str:
        """Return a cursor that skips the newest rows; a share (0 to 1) of all rows follows it."""
        return text_of_id(first_id_of_ms(self.moment_ms(share)))


def made(rows: int) -> History:
    """Return a history of ``rows`` rows: that of an earlier run, completed if rows are missing, or else a new one."""
    folder = Path(tempfile.gettempdir()) / "pycalc-bench" / f"history-{rows}"
    known = History(rows, folder, URL.format(rows=rows, folder=folder))
    asyncio.run(_make(known))
    return known


async def _make(wanted: History) -> None:
    database = await open_database(wanted.url)
    try:
        users = SqlUserStore(database)
        if await users.by_username(ADMIN) is None:
            await _add_users(users)
        ids = {name: await users.id_of(name) or b"" for name in USERS}
        newest = await SqlHistoryStore(database).page(HistoryFilter(), None, 1)
        done = wanted.numbered(unix_ms_of_id(newest[0].id)) + 1 if newest else 0
        for first in range(done, wanted.rows, _AT_ONCE):
            await _add(database, list(_rows(wanted, ids, range(first, min(first + _AT_ONCE, wanted.rows)))))
    finally:
        await database.aclose()


async def _add_users(users: SqlUserStore) -> None:
    hasher = PasswordHasher(Metrics(), 4, [PASSWORD_KEY])
    digest = await hasher.hash(PASSWORD)
    await hasher.aclose()
    for number, name in enumerate([*USERS, ADMIN]):
        role = Role.ADMIN if name == ADMIN else Role.USER
        await users.add(User(number.to_bytes(16), name, f"{name}@example.com", digest, role, _FIRST))


async def _add(database: Database, rows: list[HistoryRow]) -> None:
    """Add rows, and delete the events that the database's trigger has put into the outbox."""
    await database.insert(history, rows)
    await database.write(lambda connection: connection.execute(delete(outbox)))


def _rows(wanted: History, ids: Mapping[str, bytes], numbers: range) -> Iterator[HistoryRow]:
    chance = random.Random(numbers.start)  # noqa: S311  # a distribution, not secrets
    names = chance.choices(USERS, cum_weights=_SHARES, k=len(numbers))
    for number, name in zip(numbers, names, strict=True):
        tail = chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
        identity = wanted.moment_ms(number / wanted.rows) << 80 | 7 << 76 | tail
        yield _row(identity.to_bytes(16), ids[name], name, chance)


@lru_cache(maxsize=10_000)
def _result(operation: str, n: int) -> str:
    if operation == "pow":
        return str(gmpy2.mpz(-3) ** n)
    return str(gmpy2.fib(n) if operation == "fibonacci" else gmpy2.fac(n))


def _row(identity: bytes, user_id: bytes, name: str, chance: random.Random) -> HistoryRow:
    """Return the row of a random calculation: half are Fibonacci numbers, and some results are too long to store."""
    operation = chance.choices(("fibonacci", "pow", "factorial"), (5, 3, 2))[0]
    n = int(2 ** chance.uniform(0, 12))
    result = _result(operation, n)
    digits = result.lstrip("-")
    stored = result if len(digits) <= STORED_DIGITS else None
    facts = (stored, str(len(digits)), True, digits[:20], digits[-20:], chance.randbytes(32))
    operands = f'{{"x":-3,"y":{n}}}' if operation == "pow" else f'{{"n":{n}}}'
    return HistoryRow(identity, user_id, name, operation, operands, *facts, n < 10, 20 + n)
