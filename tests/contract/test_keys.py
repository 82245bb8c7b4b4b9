"""Contract tests for API keys, with every database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pycalc.db.base import Database, KeyBearer, KeyUse
from pycalc.db.keys import SqlKeyStore
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import Role, StoredKey, User
from pycalc.models.ids import IdSource
from pycalc.models.limits import KeyLimits

pytestmark = pytest.mark.anyio

ids = IdSource()
HASH, START = bytes(32), 1_000_000


@pytest.fixture
def keys(database: Database) -> SqlKeyStore:
    """Return the store of keys."""
    return SqlKeyStore(database)


@pytest.fixture
async def bearer(database: Database, keys: SqlKeyStore, bystander: User) -> KeyBearer:
    """Store an account and its key, and return both."""
    user = User(ids.next(), "ada", "ada@example.com", "hash", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
    await SqlUserStore(database).add(user)
    key = StoredKey(ids.next(), user.id, "report", "pck_AAAA", START, None)
    await keys.add(key, HASH, 1)
    return KeyBearer(user, key)


async def test_the_latest_use_is_kept(keys: SqlKeyStore, bearer: KeyBearer) -> None:
    """A key keeps the time and address of its latest use, even if an earlier use is stored afterwards."""
    key = bearer.key
    for used_ms, used_from, expected in [
        (START, "192.0.2.1", (START, "192.0.2.1")),
        (START + 5, "192.0.2.2", (START + 5, "192.0.2.2")),
        (START + 4, "192.0.2.3", (START + 5, "192.0.2.2")),
    ]:
        await keys.note([KeyUse(key.id, used_ms, used_from)])
        (listed,) = await keys.of_user(bearer.user.id)
        assert (listed.used_ms, listed.used_from) == expected


async def test_uses_of_many_keys_are_stored_together(keys: SqlKeyStore, bearer: KeyBearer) -> None:
    """One call stores the latest uses of several keys, and ignores a key that was removed in the meantime."""
    other = StoredKey(ids.next(), bearer.user.id, "other", "pck_BBBB", START, None)
    await keys.add(other, b"2" * 32, 2)
    gone = ids.next()
    await keys.note([KeyUse(gone, 7, "192.0.2.7"), KeyUse(other.id, 8, "192.0.2.8"), KeyUse(bearer.key.id, 9, "::/64")])
    listed = [(key.id, key.used_ms, key.used_from) for key in await keys.of_user(bearer.user.id)]
    assert listed == [(bearer.key.id, 9, "::/64"), (other.id, 8, "192.0.2.8")]


async def test_a_key_ends_with_its_time(keys: SqlKeyStore, bearer: KeyBearer) -> None:
    """A key is found, together with its expiry time, until the millisecond before it expires."""
    short = StoredKey(ids.next(), bearer.user.id, "short", "pck_BBBB", START, START + 60)
    await keys.add(short, b"2" * 32, 2)
    assert await keys.bearer(b"2" * 32, START + 59) == KeyBearer(bearer.user, short)
    assert await keys.bearer(b"2" * 32, START + 60) is None


async def test_a_key_is_stored_with_its_rights(keys: SqlKeyStore, bearer: KeyBearer) -> None:
    """A key's scopes, limits and permission to be sent in a URL are read back as stored."""
    narrow = StoredKey(
        id=ids.next(),
        user_id=bearer.user.id,
        name="sheet",
        prefix="pck_BBBB",
        created_ms=START,
        expires_ms=None,
        scopes="calculate",
        allow_query=True,
        limits=KeyLimits(rate_limit="60/minute; 1000/day", compute="1s/hour", digits="2kB/day"),
    )
    await keys.add(narrow, b"2" * 32, 2)
    found = await keys.bearer(b"2" * 32, START)
    assert found is not None
    assert found.key == narrow
    assert bearer.key.limits == KeyLimits()
    assert bearer.key.scopes == "calculate history:read usage:read events:read account:read"


async def test_a_look_up_does_not_write(
    database: Database, keys: SqlKeyStore, bearer: KeyBearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking up a known or an unknown API key writes nothing to the database."""
    monkeypatch.setattr(database, "write", None)
    assert await keys.bearer(b"1" * 32, START) is None
    assert await keys.bearer(HASH, START) == bearer
