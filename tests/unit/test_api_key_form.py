"""API keys: their form, their visible prefix, and the limit on a user's keys."""

from __future__ import annotations

import re
from hashlib import sha256
from time import time_ns

import pytest

from pycalc.models.auth import KeyRequest, Principal, Role, StoredKey
from pycalc.observability.metrics import Metrics
from tests.harness.authentication import keys_in
from tests.harness.stores import USER_ID, MemoryKeyStore, MemoryUserStore

pytestmark = pytest.mark.anyio

CALLER = Principal(USER_ID, "ada", Role.USER, b"s" * 16, 2e9)


class NotingStore(MemoryKeyStore):
    """A store of keys that records the limits passed to ``add``, and the hashes that were looked up."""

    def __init__(self) -> None:
        super().__init__(MemoryUserStore())
        self.limits: list[int] = []
        self.asked: list[bytes] = []

    async def add(self, key: StoredKey, key_hash: bytes, limit: int, session_id: bytes | None = None) -> None:
        self.limits.append(limit)
        await super().add(key, key_hash, limit, session_id)

    async def bearer(self, key_hash: bytes, now_ms: int) -> None:
        self.asked.append(key_hash)


async def test_a_key_is_256_bits_of_which_48_are_shown() -> None:
    """A key's first 12 characters are shown, four of them always the same; only the whole key's hash is stored."""
    store = NotingStore()
    before = time_ns() // 1_000_000
    key, text = await keys_in(store, Metrics()).create(CALLER, KeyRequest(name="notebook", expires_in=60))
    assert re.fullmatch(r"pck_[A-Za-z0-9_-]{43}", text)
    assert (key.prefix, key.name, len(key.prefix)) == (text[:12], "notebook", 12)
    assert list(store.stored) == [sha256(text.encode()).digest()]
    assert store.limits == [50]
    assert before <= key.created_ms <= time_ns() // 1_000_000
    assert key.expires_ms == key.created_ms + 60_000
    key, _ = await keys_in(store, Metrics()).create(CALLER, KeyRequest(name="for ever"))
    assert key.expires_ms is None


async def test_only_what_looks_like_a_key_is_looked_up() -> None:
    """A text without the form of a key causes no database read."""
    store = NotingStore()
    keys = keys_in(store, Metrics())
    right = "pck_" + "a" * 43
    others = ("pck_", right[:-1], right + "a", right[:-1] + "=", right[:-1] + "+", right + "\n", "pcx_" + "a" * 43)
    for text in (right, *others):
        assert await keys.bearer(text) is None
    assert store.asked == [sha256(right.encode()).digest()]
