"""When API keys were last used: recorded once per key between two writes, and kept if a write fails."""

from __future__ import annotations

import asyncio

import pytest

from pycalc.db.base import KeyUse
from pycalc.errors import StoreUnavailable
from pycalc.models.auth import StoredKey
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts import api_keys
from pycalc.services.accounts.api_keys import KeyUses
from tests.harness.stores import USER_ID, MemoryKeyStore, MemoryUserStore

pytestmark = pytest.mark.anyio

ADA, BOB = b"a" * 16, b"b" * 16


def key(used_ms: int | None) -> StoredKey:
    """Return a stored key that was last used at ``used_ms``, or never if that is None."""
    return StoredKey(ADA, USER_ID, "report", "pck_AAAA", 1, None, used_ms, None if used_ms is None else "192.0.2.1")


@pytest.fixture
def store() -> MemoryKeyStore:
    """Return an empty store of keys."""
    return MemoryKeyStore(MemoryUserStore())


async def test_a_key_is_noted_once_between_two_rounds(store: MemoryKeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two writes to the store, only the first use of an API key is recorded, with time and address."""
    uses = KeyUses(store, Metrics())
    monkeypatch.setattr(api_keys, "now_ms", lambda: 7)
    assert uses.is_due(ADA)
    uses.note(ADA, "192.0.2.1")
    assert not uses.is_due(ADA)
    uses.note(BOB, "192.0.2.2")
    await uses.store()
    assert store.noted == [[KeyUse(ADA, 7, "192.0.2.1"), KeyUse(BOB, 7, "192.0.2.2")]]
    assert uses.is_due(ADA)
    await uses.store()
    assert len(store.noted) == 1


async def test_a_use_is_shown_before_it_is_stored(store: MemoryKeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of keys shows a use that is not stored yet, unless another process has stored a later one."""
    uses = KeyUses(store, Metrics())
    assert uses.latest(key(None)) == key(None)
    monkeypatch.setattr(api_keys, "now_ms", lambda: 7)
    uses.note(ADA, "192.0.2.2")
    for stored in (None, 6):
        shown = uses.latest(key(stored))
        assert (shown.used_ms, shown.used_from) == (7, "192.0.2.2")
    assert uses.latest(key(8)) == key(8)


@pytest.mark.parametrize("failure", [StoreUnavailable("The database is away."), RuntimeError("a bug")])
async def test_uses_wait_while_the_database_is_away(store: MemoryKeyStore, failure: Exception) -> None:
    """If the use of an API key can't be stored, a later write stores it, at the latest when the service ends."""
    uses = KeyUses(store, Metrics())
    uses.note(ADA, "192.0.2.1")
    store.failure = failure
    with pytest.raises(type(failure)):
        await uses.store()
    uses.start()
    await asyncio.sleep(0)
    store.failure = None
    await uses.aclose()
    assert [[use.key_id for use in round_] for round_ in store.noted] == [[ADA]]


async def test_uses_are_bounded(store: MemoryKeyStore) -> None:
    """The last uses of at most 10,000 API keys wait to be stored; a metric shows their number.

    One transaction stores at most 200 of them.
    """
    metrics = Metrics()
    uses = KeyUses(store, metrics)
    for number in range(10_000):
        uses.note(number.to_bytes(16, "big"), "192.0.2.1")
    assert not uses.is_due(ADA)
    assert metrics.registry.get_sample_value("pycalc_key_uses_noted") == 10_000
    await uses.store()
    assert {len(round_) for round_ in store.noted} == {200}
    assert sum(len(round_) for round_ in store.noted) == 10_000
