"""Fixtures that the contract tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from pycalc.db import open_database
from pycalc.db.base import Database, NewSession, RefreshHashes, SessionLimits
from pycalc.db.keys import SqlKeyStore
from pycalc.db.postgres import PostgresDatabase, Timeouts
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.users import SqlUserStore
from pycalc.models.auth import Role, StoredKey, User
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream
from pycalc.streaming.base import Stream

_ids = IdSource()
Another = Callable[[], Awaitable[Stream]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open an empty database: SQLite and PostgreSQL in turn. With PostgreSQL, a slow machine makes no call late."""
    opened: Database
    if database_url.startswith("postgresql:"):
        opened = PostgresDatabase(database_url, Timeouts(connect=30.0, statement=30.0, answer=30.0))
    else:
        opened = await open_database(database_url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def bystander(database: Database) -> AsyncIterator[User]:
    """Store a second account with a session and a key; at the end, check that the test changed none of them."""
    users, sessions, keys = SqlUserStore(database), SqlSessionStore(database), SqlKeyStore(database)
    bob = User(_ids.next(), "bob", "bob@example.com", "bob's", Role.USER, datetime(2026, 11, 22, tzinfo=UTC))
    limits = SessionLimits(idle_ms=1_000, absolute_ms=5_000, grace_ms=10, per_user=3)
    session = NewSession(_ids.next(), bob.id, bob.password_hash, b"F" * 32, b"R" * 32, 1_000_000)
    key = StoredKey(_ids.next(), bob.id, "bob's", "pck_BBBB", 1_000_000, None, None)
    await users.add(bob)
    await sessions.open(session, limits)
    await keys.add(key, b"K" * 32, 1)
    yield bob
    assert await users.by_id(bob.id) == bob
    assert await keys.of_user(bob.id) == [key]
    assert await sessions.bearer(bob.id, session.id, session.now_ms, limits) == bob
    refresh = RefreshHashes(session.id, session.family_hash, session.refresh_hash, b"S" * 32, session.now_ms)
    assert await sessions.rotate(refresh, limits) == (bob, False)


@pytest.fixture
async def another(url: str) -> AsyncIterator[Another]:
    """Return a function that opens the stream at the test's URL, as a new instance of the service would."""
    async with AsyncExitStack() as stack:

        async def opened() -> Stream:
            stream = await open_stream(url, Metrics())
            stack.push_async_callback(stream.aclose)
            return stream

        yield opened
