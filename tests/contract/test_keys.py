"""Contract tests of API keys that every database must pass."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pycalc.db.base import Database, KeyBearer
from pycalc.db.keys import SqlKeyStore
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import Role, StoredKey, User
from pycalc.models.ids import IdSource

pytestmark = pytest.mark.anyio

ids = IdSource()
HASH, START, FIVE_MINUTES = bytes(32), 1_000_000, 300_000


@pytest.fixture
def keys(database: Database) -> SqlKeyStore:
    """Return the keys."""
    return SqlKeyStore(database)


@pytest.fixture
async def bearer(database: Database, keys: SqlKeyStore, bystander: User) -> KeyBearer:
    """Store an account and its key, and return the result of using the key."""
    user = User(ids.next(), "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
    await SqlUserStore(database).add(user)
    key = StoredKey(ids.next(), user.id, "report", "pck_AAAA", START, None, None)
    await keys.add(key, HASH, 1)
    return KeyBearer(user, key.id, None)


async def test_the_last_use_is_kept_to_within_five_minutes(keys: SqlKeyStore, bearer: KeyBearer) -> None:
    """The first use is stored, and then the first use at least five minutes later."""
    noted = []
    for now in (START, START + FIVE_MINUTES - 1, START + FIVE_MINUTES):
        assert await keys.use(HASH, now) == bearer
        noted += [key.used_ms for key in await keys.of_user(bearer.user.id)]
    assert noted == [START, START, START + FIVE_MINUTES]


async def test_a_key_ends_with_its_time(keys: SqlKeyStore, bearer: KeyBearer) -> None:
    """A key works until the millisecond of its expiry, which is part of the result."""
    await keys.add(StoredKey(ids.next(), bearer.user.id, "short", "pck_BBBB", START, START + 60, None), b"2" * 32, 2)
    found = await keys.use(b"2" * 32, START + 59)
    assert found is not None
    assert (found.user, found.expires_ms) == (bearer.user, START + 60)
    assert await keys.use(b"2" * 32, START + 60) is None


async def test_only_a_use_that_is_noted_writes(
    database: Database, keys: SqlKeyStore, bearer: KeyBearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown or recently used key does not enter the write queue."""
    await keys.use(HASH, START)
    monkeypatch.setattr(database, "write", None)
    assert await keys.use(b"1" * 32, START) is None
    assert await keys.use(HASH, START + 1) == bearer
