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
from pycalc.errors import Overloaded, QuotaExceeded
from pycalc.models.limits import UserLimit, parse_bytes, parse_seconds
from pycalc.models.usage import QuotaState
from pycalc.observability.metrics import Metrics

_MAX_USERS = 50_000  # kept in memory for each quota; beyond, the oldest entry is dropped and read again


class UserQuota(Protocol):
    """A quota of each user, in memory: no method waits."""

    def require(self, user_id: bytes, amount: float = 0.0) -> None:
        """Raise QuotaExceeded when nothing is left, or less than ``amount``. Reservations do not count."""

    def charge(self, user_id: bytes, amount: float) -> None:
        """Add an amount to what the user has used."""

    def spend(self, user_id: bytes, amount: float) -> None:
        """Charge an amount; if less than that is left, charge nothing and raise QuotaExceeded."""

    @contextmanager
    def held(self, user_id: bytes, amount: float) -> Iterator[None]:
        """Reserve an estimated amount for the duration of the work.

        Raises QuotaExceeded, as ``require`` does, and Overloaded when other reservations take what is left.
        """

    def states(self, user_id: bytes) -> list[QuotaState]:
        """Return the user's state in a list, which is empty if there is no limit."""

    def id_of(self, user_id: bytes) -> bytes:
        """Return the id under which this process stores what it charges to the user in the present window."""

    def now(self) -> int:
        """Return the time in seconds since the epoch; 0 if there is no limit."""

    def unstored(self) -> list[QuotaUse]:
        """Return the uses with charges that are not stored, and those that are new here."""

    def stored(self, uses: Sequence[QuotaUse]) -> None:
        """Mark these uses as stored; what was charged meanwhile is still to be stored."""

    def learn(self, totals: Sequence[QuotaTotal]) -> None:
        """Set what other processes have charged to these totals."""


class NoQuota:
    """A UserQuota without a limit."""

    def require(self, user_id: bytes, amount: float = 0.0) -> None:
        return

    def charge(self, user_id: bytes, amount: float) -> None:
        return

    def spend(self, user_id: bytes, amount: float) -> None:
        return

    @contextmanager
    def held(self, user_id: bytes, amount: float) -> Iterator[None]:
        yield

    def states(self, user_id: bytes) -> list[QuotaState]:
        return []

    def id_of(self, user_id: bytes) -> bytes:
        return b""

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
        """Name what is used by ``noun``, with its unit, in refusals; ``clock`` must return seconds since the epoch."""
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
        self._require(self._use_of(user_id), amount)

    def _require(self, use: _WindowUse, amount: float) -> None:
        left = self._limit - use.used
        if left > 0 and amount <= left:
            return
        self._refused.inc()
        detail = f"No more than {self._limit:,.10g} {self._noun} in {self._window} seconds"
        if amount > self._limit:
            detail += f", and this would take about {amount:,.3g}: ask for less."
        elif left > 0:
            detail += f"; {left:,.10g} are left: wait for the reset, or ask for less."
        else:
            detail += ": wait for the reset."
        retry_after = max(1, int(use.ends - self._clock()) + 1)
        raise QuotaExceeded(detail, retry_after, self._name, self._limit, round(use.used, 6), use.ends)

    def charge(self, user_id: bytes, amount: float) -> None:
        use = self._use_of(user_id)
        use.charged += amount
        self._store_later(use)

    def spend(self, user_id: bytes, amount: float) -> None:
        use = self._use_of(user_id)
        self._require(use, amount)
        use.charged += amount
        self._store_later(use)

    @contextmanager
    def held(self, user_id: bytes, amount: float) -> Iterator[None]:
        use = self._use_of(user_id)
        self._require(use, amount)
        if use.used + use.held + amount > self._limit:
            self._refused.inc()
            raise Overloaded(f"Your other calculations may need the {self._noun} that are left; retry in 1 s.")
        use.held += amount
        try:
            yield
        finally:
            use.held -= amount

    def states(self, user_id: bytes) -> list[QuotaState]:
        use = self._use_of(user_id)
        return [QuotaState(self._name, self._limit, round(use.used, 6), self._window, use.ends)]

    def id_of(self, user_id: bytes) -> bytes:
        return self._use_of(user_id).id

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
            self._store_later(use)  # after which the keeper reads what other processes have charged
        return use

    def _store_later(self, use: _WindowUse) -> None:
        if len(self._unstored) < _MAX_USERS:  # more only while the database is away
            self._unstored[use.id] = use


def _millionths(amount: float) -> int:
    return round(amount * 1e6)


def compute_quota(limit: str, metrics: Metrics) -> UserQuota:
    """Return the quota of a setting such as ``300s/hour``; an empty setting means no quota."""
    return WindowQuota("compute", "seconds of computing", parse_seconds(limit), metrics) if limit else NO_QUOTA


def digits_quota(limit: str, metrics: Metrics) -> UserQuota:
    """Return the quota of a setting such as ``5GB/day``; an empty setting means no quota."""
    return WindowQuota("digits", "bytes of results", parse_bytes(limit), metrics) if limit else NO_QUOTA
