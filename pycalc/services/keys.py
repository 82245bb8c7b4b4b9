"""API keys for programs: bearer tokens that last, shown once and stored hashed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from hashlib import sha256
from time import time_ns

from pycalc.db.base import KeyBearer, KeyStore
from pycalc.models.auth import StoredKey
from pycalc.models.ids import IdSource

PREFIX = "pck_"
_SHOWN = 12
"""Characters of a key that stay visible: enough to tell keys apart, far too few to guess one."""
_PER_USER = 50
_FORM = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")


class ApiKeys:
    """Makes, lists, recognizes and removes keys."""

    def __init__(self, store: KeyStore, ids: IdSource, clock_ns: Callable[[], int] = time_ns) -> None:
        self._store = store
        self._ids = ids
        self._clock_ns = clock_ns

    async def create(self, user_id: bytes, name: str, expires_in: int | None) -> tuple[StoredKey, str]:
        """Return a new key and its text, which is not kept; raises Conflict when the user has too many."""
        text = PREFIX + secrets.token_urlsafe(32)
        now = self._now_ms()
        expires = None if expires_in is None else now + expires_in * 1000
        key = StoredKey(self._ids.next(), user_id, name, text[:_SHOWN], now, expires, None)
        await self._store.add(key, sha256(text.encode()).digest(), _PER_USER)
        return key, text

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        """Return a user's keys, oldest first."""
        return await self._store.of_user(user_id)

    async def bearer(self, text: str) -> KeyBearer | None:
        """Return whose key this is, and note its use; None for a key that is not, or not any more."""
        if _FORM.fullmatch(text) is None:
            return None
        return await self._store.use(sha256(text.encode()).digest(), self._now_ms())

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        """Remove a user's key; raises NotFound."""
        await self._store.remove(user_id, key_id)

    def _now_ms(self) -> int:
        return self._clock_ns() // 1_000_000
