"""A bounded cache of verified tokens, so that most requests read no database (ADR 11)."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from itertools import islice
from time import monotonic, time
from typing import TypeVar

from pycalc.models.auth import Principal
from pycalc.observability.metrics import AccountMetrics

T = TypeVar("T")

_MAX_TOKENS = 10_000
# So that a user who ends sessions or removes keys all the time does not keep the tokens of others out of the cache.
_REMEMBERED_EVICTIONS = 64


class TokenCache:
    """An LRU cache of verified tokens and their principals."""

    def __init__(
        self,
        metrics: AccountMetrics,
        notify: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        """Create an empty cache. ``notify`` must tell other processes that there are new revocations in the store."""
        self._principals: OrderedDict[bytes, Principal] = OrderedDict()
        self.notify = notify
        self._clock = clock
        self._wall_clock = wall_clock
        self.epoch = 0  # the number of evictions
        self._evictions: deque[Callable[[Principal], bool]] = deque(maxlen=_REMEMBERED_EVICTIONS)
        self.trusted_until = math.inf  # by ``clock``; the revocation watcher extends it after each read
        metrics.tokens_cached.set_function(lambda: len(self._principals))

    def get(self, token: bytes) -> Principal | None:
        """Return a token's principal, or None if it is not cached, has expired, or revocations can't be read now."""
        principal = self._principals.get(token)
        if principal is None or self._clock() > self.trusted_until:
            return None
        if principal.expires_at <= self._wall_clock():
            del self._principals[token]
            return None
        self._principals.move_to_end(token)
        return principal

    def user_of(self, token: bytes) -> bytes | None:
        """Return the user id of a cached token, even of an expired one, or None. Any thread may call this."""
        principal = self._principals.get(token)
        return None if principal is None else principal.user_id

    def put(self, token: bytes, principal: Principal, epoch: int) -> None:
        """Cache a principal. ``epoch`` is the value that ``self.epoch`` had before the principal was read.

        Do nothing if the principal was evicted since then, or if there were too many evictions to know this.
        """
        missed = self.epoch - epoch
        evictions = islice(reversed(self._evictions), missed)
        if missed > len(self._evictions) or any(revoked(principal) for revoked in evictions):
            return
        self._principals[token] = principal
        if len(self._principals) > _MAX_TOKENS:
            self._principals.popitem(last=False)

    async def revoke(self, change: Coroutine[None, None, T], revoked: Callable[[Principal], bool]) -> T:
        """Await ``change``, which must revoke rights in the store, and return its result.

        Then evict the principals for which ``revoked`` is true, and notify other processes, even if the caller is
        cancelled, or if ``change`` fails, because its transaction may have been committed.
        """

        async def change_and_evict() -> T:
            try:
                return await change
            finally:
                self.evict(revoked)
                self.notify()

        return await asyncio.shield(change_and_evict())

    def evict(self, revoked: Callable[[Principal], bool]) -> None:
        """Evict the principals for which ``revoked`` is true.

        If such a principal is being read from the store now, it will not be cached. The result of ``revoked`` must only
        depend on attributes that never change, such as ids and names.
        """
        self.epoch += 1
        self._evictions.append(revoked)
        for token in [token for token, principal in self._principals.items() if revoked(principal)]:
            del self._principals[token]


def is_session_of(user_id: bytes) -> Callable[[Principal], bool]:
    """Return a predicate that is true for the principals of this user's sessions, but not of the user's API keys."""
    return lambda principal: principal.user_id == user_id and not principal.is_key


def is_named(username: str) -> Callable[[Principal], bool]:
    """Return a predicate that is true for the principals of the user with this name, in any letter case."""
    name = username.lower()
    return lambda principal: principal.username.lower() == name
