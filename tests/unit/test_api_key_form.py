"""API keys: their form, what stays visible of them, and how many a user has."""

from __future__ import annotations

import re
from hashlib import sha256
from time import time_ns

import pytest

from pycalc.models.auth import StoredKey
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.api_keys import ApiKeys
from tests.harness.stores import USER_ID, MemoryKeyStore, MemoryUserStore

pytestmark = pytest.mark.anyio


class NotingStore(MemoryKeyStore):
    """A store that notes how many keys a user may have, and what it was asked for."""

    def __init__(self) -> None:
        super().__init__(MemoryUserStore())
        self.limits: list[int] = []
        self.asked: list[bytes] = []

    async def add(self, key: StoredKey, key_hash: bytes, limit: int) -> None:
        """See KeyStore."""
        self.limits.append(limit)
        await super().add(key, key_hash, limit)

    async def use(self, key_hash: bytes, now_ms: int) -> None:
        """See KeyStore."""
        self.asked.append(key_hash)


async def test_a_key_is_256_bits_of_which_48_are_shown() -> None:
    """12 characters, four of them the prefix, tell keys apart; only the hash of the whole is stored."""
    store = NotingStore()
    before = time_ns() // 1_000_000
    key, text = await ApiKeys(store, IdSource(), Metrics()).create(USER_ID, "notebook", 60)
    assert re.fullmatch(r"pck_[A-Za-z0-9_-]{43}", text)
    assert (key.prefix, key.name, len(key.prefix)) == (text[:12], "notebook", 12)
    assert list(store.stored) == [sha256(text.encode()).digest()]
    assert store.limits == [50]
    assert before <= key.created_ms <= time_ns() // 1_000_000
    assert key.expires_ms == key.created_ms + 60_000
    key, _ = await ApiKeys(store, IdSource(), Metrics()).create(USER_ID, "for ever", None)
    assert key.expires_ms is None


async def test_only_what_looks_like_a_key_is_looked_up() -> None:
    """A text of another form costs no read of the database."""
    store = NotingStore()
    keys = ApiKeys(store, IdSource(), Metrics())
    right = "pck_" + "a" * 43
    for text in (right, right[:-1], right + "a", right[:-1] + "=", "pcx_" + "a" * 43):
        assert await keys.bearer(text) is None
    assert store.asked == [sha256(right.encode()).digest()]
