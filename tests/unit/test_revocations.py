"""What a process knows of revocations by others, and what it does when it can't know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import time

import pytest

from pycalc.db.base import Revocations
from pycalc.errors import StoreUnavailable
from pycalc.models.auth import Principal, Role
from pycalc.observability.metrics import Metrics
from pycalc.services import revocations
from pycalc.services.bearers import Bearers
from pycalc.services.revocations import RevocationWatch
from tests.services.waiting import until

pytestmark = pytest.mark.anyio

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


@pytest.fixture
def store() -> MemoryRevocationStore:
    """Return a store without revocations."""
    return MemoryRevocationStore()


@pytest.fixture
def bearers() -> Bearers:
    """Return bearers that know Ada and Bob."""
    known = Bearers(Metrics())
    for user in (ADA, BOB):
        known.keep(user, Principal(user, "name", Role.USER, user, time() + 900), known.epoch)
    return known


@pytest.fixture
async def watch(
    store: MemoryRevocationStore, bearers: Bearers, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RevocationWatch]:
    """Watch with a hundredth of the real times."""
    monkeypatch.setattr(revocations, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(revocations, "_PATIENCE_SECONDS", 0.2)
    opened = await RevocationWatch.open(store, bearers, Metrics())
    yield opened
    await opened.aclose()


@pytest.mark.usefixtures("watch")
async def test_whoever_is_revoked_elsewhere_is_forgotten(store: MemoryRevocationStore, bearers: Bearers) -> None:
    """The user concerned is looked up anew, others are not; what is being read just now is not kept."""
    epoch = bearers.epoch
    store.revoked.append(ADA)
    await until(lambda: bearers.get(ADA) is None, "Ada is forgotten")
    assert bearers.get(BOB) is not None
    bearers.keep(ADA, Principal(ADA, "name", Role.USER, ADA, time() + 900), epoch)
    assert bearers.get(ADA) is None


@pytest.mark.usefixtures("watch")
async def test_without_a_list_everybody_is_forgotten(store: MemoryRevocationStore, bearers: Bearers) -> None:
    """More revocations than are kept concern everybody."""
    store.forgotten = True
    store.revoked.append(ADA)
    await until(lambda: bearers.get(BOB) is None, "Bob is forgotten")
    assert bearers.get(ADA) is None


@pytest.mark.usefixtures("watch")
async def test_what_can_not_be_read_is_not_believed(store: MemoryRevocationStore, bearers: Bearers) -> None:
    """A short failure changes nothing; after a long one no bearer is believed, until revocations are read again."""
    store.failing = True
    reads = store.reads
    await until(lambda: store.reads > reads + 1, "a failure")
    assert bearers.get(ADA) is not None
    await until(lambda: bearers.get(BOB) is None, "patience is over")
    store.revoked.append(ADA)
    store.failing = False
    await until(lambda: bearers.get(BOB) is not None, "revocations are read again")
    assert bearers.get(ADA) is None


async def test_a_hint_is_followed_at_once(store: MemoryRevocationStore, bearers: Bearers) -> None:
    """Whoever hears of a revocation need not wait for the next second."""
    watch = await RevocationWatch.open(store, bearers, Metrics())
    store.revoked.append(ADA)
    watch.hint()
    await until(lambda: bearers.get(ADA) is None, "Ada is forgotten", seconds=0.9)
    await watch.aclose()
