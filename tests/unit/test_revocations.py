"""Revocations by other processes: how a process learns of them, and how it protects itself if it can't."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time

import pytest
from structlog.testing import capture_logs

from pycalc.db.base import Revocations
from pycalc.errors import StoreUnavailable
from pycalc.models.auth import Principal, Role
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.revocation_watcher import RevocationWatcher
from pycalc.services.accounts.token_cache import TokenCache
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until

ADA, BOB = b"a" * 16, b"b" * 16


class MemoryRevocationStore:
    """A store of the revocations that a test adds; reading fails on demand."""

    def __init__(self) -> None:
        self.revoked: list[bytes] = []
        # Set if the store has dropped its list, and knows only the number of revocations.
        self.forgotten = False
        self.failure: Exception | None = None
        self.reads = 0

    async def newest(self) -> int:
        return len(self.revoked)

    async def since(self, number: int) -> Revocations:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return Revocations(len(self.revoked), None if self.forgotten else frozenset(self.revoked[number:]))


def filled_cache() -> TokenCache:
    """Return a token cache with tokens of Ada and Bob."""
    known = TokenCache(Metrics(), clock=now)
    for user in (ADA, BOB):
        known.put(user, Principal(user, "name", Role.USER, user, time() + 900), known.epoch)
    return known


@asynccontextmanager
async def watching(store: MemoryRevocationStore) -> AsyncIterator[tuple[TokenCache, RevocationWatcher]]:
    """Run a watcher of a store in virtual time; yield a token cache with tokens of Ada and Bob, and the watcher."""
    token_cache = filled_cache()
    opened = RevocationWatcher(store, token_cache, Metrics(), last_seen=await store.newest(), clock=now)
    yield token_cache, opened
    await opened.aclose()


@in_virtual_time
async def test_a_user_revoked_elsewhere_is_evicted() -> None:
    """A revoked user's token is evicted, others stay; an account read before the revocation is not cached."""
    store = MemoryRevocationStore()
    async with watching(store) as (token_cache, _):
        epoch = token_cache.epoch
        store.revoked.append(ADA)
        await until(lambda: token_cache.get(ADA) is None, "Ada is forgotten")
        assert token_cache.get(BOB) is not None
        token_cache.put(ADA, Principal(ADA, "name", Role.USER, ADA, time() + 900), epoch)
        assert token_cache.get(ADA) is None


@in_virtual_time
async def test_without_a_list_the_whole_cache_is_cleared() -> None:
    """If the list of revoked users is incomplete, the whole cache is cleared, because any user may be revoked."""
    store = MemoryRevocationStore()
    async with watching(store) as (token_cache, _):
        store.forgotten = True
        store.revoked.append(ADA)
        await until(lambda: token_cache.get(BOB) is None, "Bob is forgotten")
        assert token_cache.get(ADA) is None


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is not available."), RuntimeError("a bug")])
@in_virtual_time
async def test_what_can_not_be_read_is_not_believed(failure: Exception) -> None:
    """If revocations can't be read for 5 s, no cached token is accepted until they can be read again.

    The error is logged, with a traceback unless the database is unavailable.
    """
    store = MemoryRevocationStore()
    with capture_logs() as logs:
        async with watching(store) as (token_cache, _):
            began = now()
            store.failure = failure
            reads = store.reads
            await until(lambda: store.reads > reads + 1, "a failure")
            assert token_cache.get(ADA) is not None
            await until(lambda: token_cache.get(BOB) is None, "the time limit is over")
            assert 4.9 < now() - began < 5.1
            store.revoked.append(ADA)
            store.failure = None
            await until(lambda: token_cache.get(BOB) is not None, "revocations are read again")
            assert token_cache.get(ADA) is None
    trace = failure if isinstance(failure, RuntimeError) else None
    assert {entry["exc_info"] for entry in logs if entry["event"] == "revocations can't be read"} == {trace}


@in_virtual_time
async def test_a_notification_is_followed_at_once() -> None:
    """After a notification, revocations are read at once instead of at the next poll."""
    store = MemoryRevocationStore()
    async with watching(store) as (token_cache, watch):
        began = now()
        store.revoked.append(ADA)
        watch.poll_now()
        await until(lambda: token_cache.get(ADA) is None, "Ada is forgotten")
        assert now() - began < 0.1  # Without notifications, the watcher polls once a second.


@in_virtual_time
async def test_many_notifications_are_one_read() -> None:
    """Notifications within 20 ms cause one read of the revocations, because each read loads the database."""
    store = MemoryRevocationStore()
    async with watching(store) as (token_cache, watch):
        store.revoked.append(ADA)
        for _ in range(15):
            watch.poll_now()
            await asyncio.sleep(0.001)
        await until(lambda: token_cache.get(ADA) is None, "Ada is forgotten")
        assert store.reads == 1
