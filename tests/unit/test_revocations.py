"""What a process knows of revocations by others, and what it does when it can't know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time

from pycalc.db.base import Revocations
from pycalc.errors import StoreUnavailable
from pycalc.models.auth import Principal, Role
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.revocation_watcher import RevocationWatch
from pycalc.services.accounts.token_cache import Bearers
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until

ADA, BOB = b"a" * 16, b"b" * 16


class MemoryRevocationStore:
    """Revocations that a test makes; reading fails on demand."""

    def __init__(self) -> None:
        self.revoked: list[bytes] = []
        self.forgotten = False
        """Whether there is no list any more, only the number."""
        self.failing = False
        self.reads = 0

    async def newest(self) -> int:
        """See RevocationStore."""
        return len(self.revoked)

    async def since(self, number: int) -> Revocations:
        """See RevocationStore."""
        self.reads += 1
        if self.failing:
            raise StoreUnavailable("The database is not available.")
        return Revocations(len(self.revoked), None if self.forgotten else frozenset(self.revoked[number:]))


def known_bearers() -> Bearers:
    """Return bearers that know Ada and Bob."""
    known = Bearers(Metrics(), clock=now)
    for user in (ADA, BOB):
        known.keep(user, Principal(user, "name", Role.USER, user, time() + 900), known.epoch)
    return known


@asynccontextmanager
async def watching(store: MemoryRevocationStore) -> AsyncIterator[tuple[Bearers, RevocationWatch]]:
    """Watch a store in virtual time, for bearers that know Ada and Bob."""
    bearers = known_bearers()
    opened = await RevocationWatch.open(store, bearers, Metrics(), now)
    yield bearers, opened
    await opened.aclose()


@in_virtual_time
async def test_whoever_is_revoked_elsewhere_is_forgotten() -> None:
    """The user concerned is looked up anew, others are not; what is being read just now is not kept."""
    store = MemoryRevocationStore()
    async with watching(store) as (bearers, _):
        epoch = bearers.epoch
        store.revoked.append(ADA)
        await until(lambda: bearers.get(ADA) is None, "Ada is forgotten")
        assert bearers.get(BOB) is not None
        bearers.keep(ADA, Principal(ADA, "name", Role.USER, ADA, time() + 900), epoch)
        assert bearers.get(ADA) is None


@in_virtual_time
async def test_without_a_list_everybody_is_forgotten() -> None:
    """More revocations than are kept concern everybody."""
    store = MemoryRevocationStore()
    async with watching(store) as (bearers, _):
        store.forgotten = True
        store.revoked.append(ADA)
        await until(lambda: bearers.get(BOB) is None, "Bob is forgotten")
        assert bearers.get(ADA) is None


@in_virtual_time
async def test_what_can_not_be_read_is_not_believed() -> None:
    """A short failure changes nothing; after a long one no bearer is believed, until revocations are read again."""
    store = MemoryRevocationStore()
    async with watching(store) as (bearers, _):
        began = now()
        store.failing = True
        reads = store.reads
        await until(lambda: store.reads > reads + 1, "a failure")
        assert bearers.get(ADA) is not None
        await until(lambda: bearers.get(BOB) is None, "patience is over")
        assert 4.9 < now() - began < 5.1
        store.revoked.append(ADA)
        store.failing = False
        await until(lambda: bearers.get(BOB) is not None, "revocations are read again")
        assert bearers.get(ADA) is None


@in_virtual_time
async def test_a_hint_is_followed_at_once() -> None:
    """Whoever hears of a revocation need not wait for the next second."""
    store = MemoryRevocationStore()
    async with watching(store) as (bearers, watch):
        began = now()
        store.revoked.append(ADA)
        watch.notify()
        await until(lambda: bearers.get(ADA) is None, "Ada is forgotten")
        assert now() - began < 0.1  # it looks once a second by itself
