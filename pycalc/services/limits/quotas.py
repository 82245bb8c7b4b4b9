"""Quotas: how much of the service each user may use in a fixed window of time (ADR 28).

Charges and checks happen in memory. ``QuotaKeeper`` stores the charges, and reads those of other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from time import time
from uuid import uuid4

from pycalc.db.base import QuotaTotal, QuotaUse
from pycalc.errors import LimitState, Overloaded, QuotaExceeded
from pycalc.models.auth import Principal
from pycalc.models.limits import UserLimit, UserLimits
from pycalc.models.usage import QuotaState
from pycalc.observability.metrics import Metrics

_MAX_USERS = 50_000  # kept in memory for each quota; beyond, the oldest entry is dropped and read again


@dataclass(slots=True)
class _WindowUse:
    """A user's use of a quota in one window, or that of an API key with a limit of its own."""

    user_id: bytes  # or the key's id
    seconds: int  # the window's length
    ends: int  # seconds since the epoch
    id: bytes = field(default_factory=lambda: uuid4().bytes)
    charged: float = 0.0  # by this process
    others: float = 0.0  # charged by other processes, as far as is known
    reserved: float = 0.0  # for work in progress

    @property
    def used(self) -> float:
        """Return what all processes are known to have charged."""
        return self.charged + self.others


class WindowQuota:
    """A quota of each user, in windows that begin at multiples of their length since the epoch. No method waits.

    The caller's limits say how much of it the user may use, and in which window.
    """

    def __init__(
        self,
        name: str,
        noun: str,
        unit: str,
        limit_of: Callable[[UserLimits], UserLimit | None],
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time,
    ) -> None:
        """Name what is used by ``noun`` in sentences, by ``unit`` in header fields.

        ``clock`` must return seconds since the epoch.
        """
        self._name = name
        self._noun = noun
        self._unit = unit
        self._limit_of = limit_of
        self._clock = clock
        self._uses: dict[bytes, _WindowUse] = {}
        self._unstored: dict[bytes, _WindowUse] = {}
        self._refused = metrics.rate_limited.labels(name)
        metrics.limit_keys.labels(name).set_function(lambda: len(self._uses))

    def require(self, caller: Principal, amount: float = 0.0) -> None:
        """Raise QuotaExceeded when nothing is left, or less than ``amount``. Reservations do not count."""
        limit = self._limit_of(caller.limits)
        if limit is not None:
            self._require(caller, self._use_of(caller.user_id, limit.seconds), limit, amount)
        if caller.key is not None:
            self.require(caller.key, amount)

    def _require(self, caller: Principal, use: _WindowUse, limit: UserLimit, amount: float) -> None:
        left = limit.amount - use.used
        if left > 0 and amount <= left:
            return
        self._refused.inc()
        detail = f"No more than {limit.amount:,.10g} {self._noun} in {limit.seconds} seconds"
        if caller.limits.prefix:
            detail += " with this API key"
        if amount > limit.amount:
            detail += f", and this would take about {amount:,.3g}: ask for less."
        elif left > 0:
            detail += f"; {left:,.10g} are left: wait for the reset, or ask for less."
        else:
            detail += ": wait for the reset."
        raise QuotaExceeded(detail, self._limit_state(caller, use, limit), round(use.used, 6), use.ends)

    def charge(self, caller: Principal, amount: float) -> None:
        """Add an amount to what the user has used, and the API key if it has limits of its own."""
        limit = self._limit_of(caller.limits)
        if limit is not None:
            use = self._use_of(caller.user_id, limit.seconds)
            use.charged += amount
            self._store_later(use)
        if caller.key is not None:
            self.charge(caller.key, amount)

    def spend(self, caller: Principal, amount: float) -> None:
        """Charge an amount; if less than that is left, charge nothing and raise QuotaExceeded."""
        limit = self._limit_of(caller.limits)
        if caller.key is not None:
            self.require(caller, amount)
            self.spend(caller.key, amount)
        if limit is not None:
            use = self._use_of(caller.user_id, limit.seconds)
            self._require(caller, use, limit, amount)
            use.charged += amount
            self._store_later(use)

    @contextmanager
    def reserved(self, caller: Principal, amount: float) -> Iterator[None]:
        """Reserve an estimated amount for the duration of the work.

        Raises QuotaExceeded, as ``require`` does, and Overloaded when other reservations take what is left.
        """
        self.require(caller, amount)
        uses = self._uses_of(caller)
        if any(use.used + use.reserved + amount > limit.amount for _, use, limit in uses):
            self._refused.inc()
            raise Overloaded(f"Your other calculations may need the {self._noun} that are left; retry in 1 s.")
        for _, use, _ in uses:
            use.reserved += amount
        try:
            yield
        finally:
            for _, use, _ in uses:
                use.reserved -= amount

    def states(self, caller: Principal) -> list[QuotaState]:
        """Return what the user has used, and the API key if it has a limit of its own; nothing without a limit."""
        return [
            QuotaState(counted.limits.prefix + self._name, limit.amount, round(use.used, 6), limit.seconds, use.ends)
            for counted, use, limit in self._uses_of(caller)
        ]

    def limit_states(self, caller: Principal) -> list[LimitState]:
        """Return what is left in whole units and seconds, in the order of ``states``."""
        return [self._limit_state(*each) for each in self._uses_of(caller)]

    def _limit_state(self, caller: Principal, use: _WindowUse, limit: UserLimit) -> LimitState:
        left, reset = max(0, int(limit.amount - use.used)), max(1, int(use.ends - self._clock()) + 1)
        return LimitState(limit.amount, limit.seconds, left, reset, caller.limits.prefix + self._name, self._unit)

    def ids_of(self, caller: Principal) -> dict[bytes, bytes]:
        """Return the ids under which this process stores its charges in the present windows, by user or key."""
        return {use.user_id: use.id for _, use, _ in self._uses_of(caller)}

    def _uses_of(self, caller: Principal) -> list[tuple[Principal, _WindowUse, UserLimit]]:
        """Return the uses in which the caller's work counts, each with the user or the API key and its limit."""
        found = [(counted, self._limit_of(counted.limits)) for counted in (caller, caller.key) if counted is not None]
        return [
            (counted, self._use_of(counted.user_id, limit.seconds), limit)
            for counted, limit in found
            if limit is not None
        ]

    def now(self) -> int:
        """Return the time in seconds since the epoch."""
        return int(self._clock())

    def unstored(self) -> list[QuotaUse]:
        """Return the uses with charges that are not stored, and those that are new here."""
        now = self._clock()
        for ended in [use.id for use in self._unstored.values() if use.ends <= now]:
            del self._unstored[ended]
        return [
            QuotaUse(use.id, use.user_id, self._name, use.ends, _millionths(use.charged))
            for use in self._unstored.values()
        ]

    def stored(self, uses: Sequence[QuotaUse]) -> None:
        """Mark these uses as stored; what was charged meanwhile is still to be stored."""
        for stored in uses:
            use = self._unstored.get(stored.id)
            if use is not None and _millionths(use.charged) == stored.used:
                del self._unstored[stored.id]

    def learn(self, totals: Sequence[QuotaTotal]) -> None:
        """Set what other processes have charged to these totals."""
        for total in totals:
            use = self._uses.get(total.user_id)
            if use is not None and (self._name, use.ends) == (total.quota, total.ends):
                use.others = total.used / 1e6

    def _use_of(self, user_id: bytes, seconds: int) -> _WindowUse:
        """Return the user's use in the present window of this length; the first call creates it."""
        now = self._clock()
        use = self._uses.get(user_id)
        if use is None or use.ends <= now or use.seconds != seconds:
            self._uses.pop(user_id, None)
            if len(self._uses) >= _MAX_USERS:
                del self._uses[next(iter(self._uses))]
            use = self._uses[user_id] = _WindowUse(user_id, seconds, (int(now) // seconds + 1) * seconds)
            self._store_later(use)  # after which the keeper reads what other processes have charged
        return use

    def _store_later(self, use: _WindowUse) -> None:
        if len(self._unstored) < _MAX_USERS:  # more only while the database is away
            self._unstored[use.id] = use


def _millionths(amount: float) -> int:
    return round(amount * 1e6)


def compute_quota(metrics: Metrics) -> WindowQuota:
    """Return the quota of seconds of computing."""
    return WindowQuota("compute", "seconds of computing", "seconds", attrgetter("compute"), metrics)


def digits_quota(metrics: Metrics) -> WindowQuota:
    """Return the quota of bytes of results sent."""
    return WindowQuota("digits", "bytes of results", "content-bytes", attrgetter("digits"), metrics)
