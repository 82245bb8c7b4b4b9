"""Who bears which token: verified once, kept within bounds, forgotten at once when revoked (ADR 11)."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from time import monotonic, time
from typing import TypeVar

from pycalc.models.auth import Principal
from pycalc.observability.metrics import Metrics

T = TypeVar("T")

_LIMIT = 10_000


class Bearers:
    """Verified tokens and their bearers, a bounded LRU."""

    def __init__(
        self,
        metrics: Metrics,
        revoked_here: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        """``revoked_here`` is called after each revocation by this process, to hurry the others."""
        self._bearers: OrderedDict[bytes, Principal] = OrderedDict()
        self._revoked_here = revoked_here
        self._clock = clock
        self._wall_clock = wall_clock
        self.epoch = 0
        """Counts revocations: what was read from the store before one must not be kept after it."""
        self.believed_until = math.inf
        """Until when kept bearers may be believed, by ``clock``: the revocations that were read say no more."""
        metrics.tokens_cached.set_function(lambda: len(self._bearers))

    def get(self, token: bytes) -> Principal | None:
        """Return the bearer of a token that was verified before and has not expired.

        None too while it can't be known who has lost their rights.
        """
        if self._clock() > self.believed_until:
            return None
        bearer = self._bearers.get(token)
        if bearer is None:
            return None
        if bearer.expires_at <= self._wall_clock():
            del self._bearers[token]
            return None
        self._bearers.move_to_end(token)
        return bearer

    def user_of(self, token: bytes) -> bytes | None:
        """Return the id of the user of a token that is kept, believed or not; any thread may ask."""
        bearer = self._bearers.get(token)
        return None if bearer is None else bearer.user_id

    def keep(self, token: bytes, bearer: Principal, epoch: int) -> None:
        """Keep a bearer that was read from the store at ``epoch``, unless there was a revocation since."""
        if epoch != self.epoch:
            return
        self._bearers[token] = bearer
        if len(self._bearers) > _LIMIT:
            self._bearers.popitem(last=False)

    async def revoke(self, change: Coroutine[None, None, T], revoked: Callable[[Principal], bool]) -> T:
        """Change the store, and forget the bearers that this revokes before it is answered.

        Both happen whatever becomes of the caller: a client that hangs up must not part the two.
        """
        return await asyncio.shield(self._revoke(change, revoked))

    async def _revoke(self, change: Coroutine[None, None, T], revoked: Callable[[Principal], bool]) -> T:
        try:
            return await change
        finally:
            self.end(revoked)

    def end(self, revoked: Callable[[Principal], bool]) -> None:
        """Forget the bearers whose rights were taken from them in the store by this process, and say so."""
        self.forget(revoked)
        self._revoked_here()

    def forget(self, revoked: Callable[[Principal], bool]) -> None:
        """Forget the bearers that are revoked, and what is being read from the store just now."""
        self.epoch += 1
        for token in [token for token, bearer in self._bearers.items() if revoked(bearer)]:
            del self._bearers[token]
