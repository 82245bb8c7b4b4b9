"""Quotas: how much of the service each user may use in a fixed window of time (ADR 28).

Charges and checks happen in memory. ``QuotaKeeper`` stores the charges, and reads those of other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import time
from typing import Protocol
from uuid import uuid4

from pycalc.db.base import QuotaTotal, QuotaUse
from pycalc.errors import QuotaExceeded
from pycalc.models.limits import UserLimit, parse_bytes, parse_seconds
from pycalc.models.usage import QuotaState
from pycalc.observability.metrics import Metrics

_MAX_USERS = 50_000  # whose use of a quota is in memory; above this the oldest use is dropped


class UserQuota(Protocol):
    """A quota of each user, in memory: no method waits."""

    def require(self, user_id: bytes, amount: float = 0.0) -> None:
        """Raise QuotaExceeded when nothing, or less than ``amount``, is left."""

    def charge(self, user_id: bytes, amount: float) -> None:
        """Add an amount to what the user has used."""

    @contextmanager
    def held(self, user_id: bytes, amount: float) -> Iterator[None]:
        """Reserve an estimated amount within the context; raises QuotaExceeded as ``require`` does."""

    def states(self, user_id: bytes) -> list[QuotaState]:
        """Return the user's state in a list, which is empty if there is no limit."""

    def now(self) -> int:
        """Return the time in seconds since the epoch; 0 if there is no limit."""

    def unstored(self) -> list[QuotaUse]:
        """Return the uses with charges that are not stored; drop those whose window has ended."""

    def stored(self, uses: Sequence[QuotaUse]) -> None:
        """Mark these uses as stored, except those that were charged again meanwhile."""

    def learn(self, totals: Sequence[QuotaTotal]) -> None:
        """Set what other processes have charged to these totals."""


class NoQuota:
    """A UserQuota without a limit."""

    def require(self, user_id: bytes, amount: float = 0.0) -> None:
        return

    def charge(self, user_id: bytes, amount: float) -> None:
        return

    @contextmanager
    def held(self, user_id: bytes, amount: float) -> Iterator[None]:
        yield

    def states(self, user_id: bytes) -> list[QuotaState]:
        return []

    def now(self) -> int:
        return 0

    def unstored(self) -> list[QuotaUse]:
        return []

    def stored(self, uses: Sequence[QuotaUse]) -> None:
        return

    def learn(self, totals: Sequence[QuotaTotal]) -> None:
        return


NO_QUOTA = NoQuota()


@dataclass(slots=True)
class _WindowUse:
    """A user's use of a quota in one window."""

    user_id: bytes
    ends: int  # seconds since the epoch
    id: bytes = field(default_factory=lambda: uuid4().bytes)
    charged: float = 0.0  # by this process
    others: float = 0.0  # charged by other processes, as far as is known
    held: float = 0.0

    @property
    def used(self) -> float:
        """Return what all processes are known to have charged."""
        return self.charged + self.others


class WindowQuota:
    """A UserQuota with a limit, in windows that begin at multiples of their length since the epoch."""

    def __init__(
        self, name: str, noun: str, limit: UserLimit, metrics: Metrics, *, clock: Callable[[], float] = time
    ) -> None:
        """``noun`` names what is used, with its unit, in refusals; ``clock`` returns seconds since the epoch."""
        self._name = name
        self._noun = noun
        self._limit = limit.amount
        self._window = limit.seconds
        self._clock = clock
        self._uses: dict[bytes, _WindowUse] = {}
        self._unstored: dict[bytes, _WindowUse] = {}
        self._refused = metrics.rate_limited.labels(name)
        metrics.limit_keys.labels(name).set_function(lambda: len(self._uses))

    def require(self, user_id: bytes, amount: float = 0.0) -> None:
        use = self._use_of(user_id)
        taken = use.used + use.held
        if taken + amount <= self._limit and taken < self._limit:
            return
        self._refused.inc()
        left = max(0.0, self._limit - taken)
        detail = (
            f"No more than {self._limit:,.10g} {self._noun} in {self._window} seconds; {left:,.10g} are left: "
            f"wait for the reset, or ask for less."
        )
        retry_after = max(1, int(use.ends - self._clock()) + 1)
        raise QuotaExceeded(detail, retry_after, self._name, self._limit, round(use.used, 6), use.ends)

    def charge(self, user_id: bytes, amount: float) -> None:
        use = self._use_of(user_id)
        use.charged += amount
        if len(self._unstored) < _MAX_USERS:  # bounds the memory while the database fails
            self._unstored[use.id] = use

    @contextmanager
    def held(self, user_id: bytes, amount: float) -> Iterator[None]:
        self.require(user_id, amount)
        use = self._use_of(user_id)
        use.held += amount
        try:
            yield
        finally:
            use.held -= amount

    def states(self, user_id: bytes) -> list[QuotaState]:
        use = self._use_of(user_id)
        return [QuotaState(self._name, self._limit, round(use.used, 6), self._window, use.ends)]

    def now(self) -> int:
        return int(self._clock())

    def unstored(self) -> list[QuotaUse]:
        now = self._clock()
        for ended in [use.id for use in self._unstored.values() if use.ends <= now]:
            del self._unstored[ended]
        return [
            QuotaUse(use.id, use.user_id, self._name, use.ends, _millionths(use.charged))
            for use in self._unstored.values()
        ]

    def stored(self, uses: Sequence[QuotaUse]) -> None:
        for stored in uses:
            use = self._unstored.get(stored.id)
            if use is not None and _millionths(use.charged) == stored.used:
                del self._unstored[stored.id]

    def learn(self, totals: Sequence[QuotaTotal]) -> None:
        for total in totals:
            use = self._uses.get(total.user_id)
            if use is not None and (self._name, use.ends) == (total.quota, total.ends):
                use.others = total.used / 1e6

    def _use_of(self, user_id: bytes) -> _WindowUse:
        """Return the user's use in the present window; the first call creates it."""
        now = self._clock()
        use = self._uses.get(user_id)
        if use is None or use.ends <= now:
            self._uses.pop(user_id, None)
            if len(self._uses) >= _MAX_USERS:
                del self._uses[next(iter(self._uses))]
            use = self._uses[user_id] = _WindowUse(user_id, (int(now) // self._window + 1) * self._window)
        return use


def _millionths(amount: float) -> int:
    return round(amount * 1e6)


def compute_quota(limit: str, metrics: Metrics) -> UserQuota:
    """Return the quota of a setting such as ``300s/hour``; an empty setting means no quota."""
    return WindowQuota("compute", "seconds of computing", parse_seconds(limit), metrics) if limit else NO_QUOTA


def digits_quota(limit: str, metrics: Metrics) -> UserQuota:
    """Return the quota of a setting such as ``5GB/day``; an empty setting means no quota."""
    return WindowQuota("digits", "bytes of results", parse_bytes(limit), metrics) if limit else NO_QUOTA
