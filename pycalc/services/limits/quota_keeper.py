"""Storage of quota charges in the database, so that all processes know them (ADR 28)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import time
from typing import TypeVar

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.db.base import QuotaStore, QuotaUse
from pycalc.errors import LimitState, StoreUnavailable
from pycalc.models.auth import Principal
from pycalc.models.limits import LimitMembers, UserLimits, limit_members
from pycalc.models.usage import QuotaItem
from pycalc.services.limits.quotas import WindowQuota

_SECONDS = 1.0  # between two rounds of storing and reading
_ROUNDS = 3  # after a charge, the user's totals are read in this many rounds
_BATCH = 200  # users or uses in one transaction
_FORGET_SECONDS = 3_600.0
_MOST_CALLERS = 10_000  # the most callers whose header fields are cached, each for the rest of a second

T = TypeVar("T")

_log = get_logger(__name__)


def _parts(whole: Sequence[T]) -> list[Sequence[T]]:
    return [whole[start : start + _BATCH] for start in range(0, len(whole), _BATCH)]


class QuotaKeeper:
    """A task that stores this process's charges each second, then reads other processes' charges of the same users.

    A crash loses the charges that are not stored yet.
    """

    def __init__(self, store: QuotaStore, quotas: Sequence[WindowQuota]) -> None:
        """Start the task."""
        self._store = store
        # The uses of the last rounds: other processes may store charges of the same users some rounds later.
        self._quotas = [(quota, deque[list[QuotaUse]](maxlen=_ROUNDS)) for quota in quotas]
        self._members: dict[bytes, tuple[int, UserLimits, LimitMembers]] = {}
        self._closing = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run(), name="quotas")

    async def aclose(self) -> None:
        """Store the remaining charges and stop the task. If storing fails, log the failure."""
        self._closing.set()
        await self._runner

    async def states(self, caller: Principal) -> list[QuotaItem]:
        """Return the state of each of the caller's quotas, with the charges that other processes have stored by now.

        Without the database, these are as last read. Raises Overloaded if too many of the caller's reads wait.
        """
        with suppress(StoreUnavailable):
            for quota, _ in self._quotas:
                if own := quota.ids_of(caller):
                    quota.learn(await self._store.totals(list(own), quota.now(), list(own.values())))
        return [state for quota, _ in self._quotas for state in quota.states(caller)]

    def limit_states(self, caller: Principal) -> list[LimitState]:
        """Return the remaining amount of each of the caller's quotas, as far as this process knows."""
        return [state for quota, _ in self._quotas for state in quota.limit_states(caller)]

    def members(self, caller: Principal) -> LimitMembers:
        """Return the members of the RateLimit header fields for the caller's quotas, at most one second old."""
        # They are kept, because making them takes some 5 % of the time of a small calculation.
        now, known = int(time()), self._members.get(caller.credential_id)
        if known is None or known[0] != now or known[1] is not caller.limits:
            if len(self._members) >= _MOST_CALLERS:
                self._members.clear()
            known = now, caller.limits, limit_members(self.limit_states(caller))
            self._members[caller.credential_id] = known
        return known[2]

    async def _run(self) -> None:
        next_forgetting = self._loop.time()
        while True:
            last = self._closing.is_set()
            try:
                for quota, recent in self._quotas:
                    uses = quota.unstored()
                    for part in _parts(uses):
                        await self._store.save(part)
                        quota.stored(part)
                    recent.append(uses)
                    own = {use.user_id: use.id for stored in recent for use in stored}
                    for users in _parts(list(own)):
                        quota.learn(await self._store.totals(users, quota.now(), [own[user] for user in users]))
                # Delete one batch of old uses in a round, so that the next charges are stored soon.
                now = max(quota.now() for quota, _ in self._quotas)
                if self._loop.time() >= next_forgetting and await self._store.forget(now, _BATCH) < _BATCH:
                    next_forgetting = self._loop.time() + _FORGET_SECONDS
            except Exception as error:  # the charges stay in force here, and the next round stores them
                _log.warning("quota charges were not stored", error=str(error))
            if last:
                return
            await wait_until_set(self._closing, _SECONDS)
