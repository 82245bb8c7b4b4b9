"""Unknown API keys: refused from memory, with a limited number of look-ups."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from pycalc.db.base import KeyBearer
from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.api_keys import PREFIX
from tests.harness.authentication import keys_in
from tests.harness.stores import MemoryKeyStore, MemoryUserStore

pytestmark = pytest.mark.anyio


class Store(MemoryKeyStore):
    """A store without keys that counts look-ups, and answers them while ``gate`` is set."""

    def __init__(self) -> None:
        super().__init__(MemoryUserStore())
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def bearer(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        self.asked += 1
        await self.gate.wait()
        return None


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def invented() -> str:
    """Return a new text in the form of a key."""
    return PREFIX + secrets.token_urlsafe(32)


async def test_an_unknown_key_is_looked_up_once_a_second() -> None:
    """An unknown key is looked up at most once a second; in between it is refused from memory."""
    store, clock, key = Store(), Clock(), invented()
    keys = keys_in(store, Metrics(), clock)
    for _ in range(100):
        assert await keys.bearer(key) is None
    assert store.asked == 1
    clock.now += 1.0
    assert await keys.bearer(key) is None
    assert store.asked == 2


async def test_unknown_keys_are_remembered_within_bounds() -> None:
    """The number of remembered unknown keys, which a metric shows, is bounded: the newest displaces the oldest."""
    store, metrics = Store(), Metrics()
    keys = keys_in(store, metrics, Clock())
    first = invented()
    await keys.bearer(first)
    for _ in range(10_000):
        await keys.bearer(invented())
    assert metrics.registry.get_sample_value("pycalc_unknown_keys") == 10_000
    await keys.bearer(first)
    assert store.asked == 10_002


async def test_invented_keys_take_two_lookups_at_a_time() -> None:
    """At most two unknown keys are looked up at a time; 64 more wait, and the rest is refused and counted."""
    store, metrics = Store(), Metrics()
    store.gate.clear()
    keys = keys_in(store, metrics, Clock())
    asking = [asyncio.ensure_future(keys.bearer(invented())) for _ in range(200)]
    refused = [task for task in asking if task.done() or await _is_refused(task)]
    assert store.asked == 2
    assert len(refused) == 200 - 2 - 64
    assert metrics.registry.get_sample_value("pycalc_credential_lookups_refused_total", {"kind": "key"}) == len(refused)
    store.gate.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert outcomes.count(None) == 66


async def _is_refused(task: asyncio.Future[KeyBearer | None]) -> bool:
    """Let other tasks run, then return whether the task was refused."""
    await asyncio.sleep(0)
    return task.done() and isinstance(task.exception(), Overloaded)


async def test_unknown_keys_can_be_forgotten() -> None:
    """After ``forget_unknown``, which the enabling of an account calls, an unknown key is looked up again at once."""
    store = Store()
    keys = keys_in(store, Metrics(), Clock())
    key = invented()
    await keys.bearer(key)
    keys.forget_unknown()
    await keys.bearer(key)
    assert store.asked == 2
