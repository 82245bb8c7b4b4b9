"""API keys for programs: bearer tokens that last, shown once and stored hashed."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from time import monotonic, time_ns

from pycalc.db.base import KeyBearer, KeyStore
from pycalc.models.auth import StoredKey
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.lookups import Lookups

PREFIX = "pck_"
_SHOWN = 12
"""Characters of a key that stay visible: enough to tell keys apart, far too few to guess one."""
_PER_USER = 50
_LOOKUPS = 2
_UNKNOWN_SECONDS = 1.0
"""How long a key that the store does not know is refused without asking again. Nobody can send a key before it is made,
so a new one works at once everywhere; the key of an account that is enabled again works within this time."""
_UNKNOWN_KEYS = 10_000
_FORM = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")


class ApiKeys:
    """Makes, lists, recognizes and removes keys."""

    def __init__(
        self,
        store: KeyStore,
        ids: IdSource,
        metrics: Metrics,
        clock: Callable[[], float] = monotonic,
        clock_ns: Callable[[], int] = time_ns,
    ) -> None:
        """``clock`` returns seconds since any moment, ``clock_ns`` the time since 1970."""
        self._store = store
        self._ids = ids
        self._clock = clock
        self._clock_ns = clock_ns
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._lookups = Lookups(_LOOKUPS, metrics.lookups_refused.labels("key"))
        metrics.keys_unknown.set_function(lambda: len(self._unknown))

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
        """Return whose key this is, and note its use; None for a key that is not, or not any more.

        Raises Overloaded when too many keys wait to be looked up.
        """
        if _FORM.fullmatch(text) is None:
            return None
        digest = sha256(text.encode()).digest()
        if self._unknown.get(digest, 0.0) > self._clock():
            return None
        async with self._lookups.one():
            bearer = await self._store.use(digest, self._now_ms())
        if bearer is None:
            self._remember_unknown(digest)
        return bearer

    def forget_unknown(self) -> None:
        """Ask the store again for every key: an account may have been enabled."""
        self._unknown.clear()

    def _remember_unknown(self, digest: bytes) -> None:
        self._unknown[digest] = self._clock() + _UNKNOWN_SECONDS
        self._unknown.move_to_end(digest)
        if len(self._unknown) > _UNKNOWN_KEYS:
            self._unknown.popitem(last=False)

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        """Remove a user's key; raises NotFound."""
        await self._store.remove(user_id, key_id)

    def _now_ms(self) -> int:
        return self._clock_ns() // 1_000_000
