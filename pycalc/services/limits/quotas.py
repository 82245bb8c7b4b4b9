"""Quotas: how much computing time and output each user may use in a fixed window of time (ADR 28).

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
from pycalc.models.limits import UserLimit, UserLimits, each_window
from pycalc.models.usage import QuotaItem, quota_item
from pycalc.observability.metrics import Metrics

# The most uses in memory for each quota. A further one evicts the oldest, which is read again when it is needed.
_MAX_USERS = 50_000
_ROUNDING = 5e-7  # amounts are rounded to millionths, because sums of floats are inexact


@dataclass(slots=True)
class _WindowUse:
    """The amount of a quota that a user, or an API key with its own limit, has used in one window."""

    user_id: bytes  # or the id of the API key
    prefix: str  # begins the names of the limits of an API key
    limit: UserLimit
    ends: int  # seconds since the epoch
    id: bytes = field(default_factory=lambda: uuid4().bytes)
    charged: float = 0.0  # the amount that this process has charged
    others: float = 0.0  # the amount that other processes have charged, as far as is known
    reserved: float = 0.0  # the amount reserved for work in progress

    @property
    def used(self) -> float:
        return self.charged + self.others


Uses = Sequence[_WindowUse]  # empty for a caller without limits


class WindowQuota:
    """A quota of each user in fixed windows, which begin at multiples of their length since the epoch."""

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
        """Call amounts ``noun`` in sentences and ``unit`` in header fields. ``limit_of`` selects a caller's limit."""
        self._name = name
        self._noun = noun
        self._unit = unit
        self._limit_of = limit_of
        self._clock = clock
        self._uses: dict[bytes, _WindowUse] = {}
        self._unstored: dict[bytes, _WindowUse] = {}
        self._refused = metrics.rate_limited.labels(name)
        metrics.limit_keys.labels(name).set_function(lambda: len(self._uses))

    def require(self, caller: Principal, amount: float = 0.0) -> Uses:
        """Return how much the caller has used of each of its limits: of the user's, and of the API key's own.

        Raises QuotaExceeded if nothing is left, or less than ``amount``. Reserved amounts count as left.
        """
        uses = self._uses_of(caller)
        for use in uses:
            left = use.limit.amount - use.used
            if left > _ROUNDING and amount <= left + _ROUNDING:
                continue
            self._refused.inc()
            detail = f"No more than {use.limit.amount:,} {self._noun} {each_window(use.limit.seconds)}"
            if use.prefix:
                detail += " with this API key"
            if amount > use.limit.amount:
                about = f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
                detail += f", and this would take about {about}: ask for less."
            elif _shown(left) > 0:
                detail += f"; {_shown(left):,} are left: wait for the reset, or ask for less."
            else:
                detail += ": wait for the reset."
            raise QuotaExceeded(detail, self._limit_state(use), _shown(use.used), use.ends)
        return uses

    def charge(self, caller: Principal, amount: float) -> None:
        """Add ``amount`` to what is used of each of the caller's limits: the user's, and the API key's own."""
        self.add(self._uses_of(caller), amount)

    def spend(self, caller: Principal, amount: float) -> Uses:
        """Charge ``amount`` if it is left, else raise QuotaExceeded. Return the used amounts that now include it."""
        uses = self.require(caller, amount)
        self.add(uses, amount)
        return uses

    def add(self, uses: Uses, amount: float) -> None:
        """Add ``amount`` to the used amounts. It is negative for a refund, which concerns the window of the charge.

        If the charge is stored already, other processes learn of the refund only through later charges, because a
        stored amount never decreases.
        """
        for use in uses:
            use.charged += amount
            self._store_later(use)

    @contextmanager
    def reserved(self, caller: Principal, amount: float) -> Iterator[None]:
        """Return a context in which an estimated amount is reserved.

        Raises QuotaExceeded as ``require`` does. Raises Overloaded if other reservations leave too little.
        """
        uses = self.require(caller, amount)
        if any(use.used + use.reserved + amount > use.limit.amount + _ROUNDING for use in uses):
            self._refused.inc()
            raise Overloaded(f"Your other calculations may need the {self._noun} that are left; retry in 1 s.")
        for use in uses:
            use.reserved += amount
        try:
            yield
        finally:
            for use in uses:
                use.reserved -= amount

    def states(self, caller: Principal) -> list[QuotaItem]:
        """Return the used amount for each of the caller's limits: the user's, and the API key's own."""
        return [
            quota_item(use.prefix + self._name, use.limit.amount, _shown(use.used), use.limit.seconds, use.ends)
            for use in self._uses_of(caller)
        ]

    def limit_states(self, caller: Principal) -> list[LimitState]:
        """Return the remaining amount for each of the caller's limits, in the order of ``states``."""
        return list(map(self._limit_state, self._uses_of(caller)))

    def _limit_state(self, use: _WindowUse) -> LimitState:
        (amount, seconds), name = use.limit, use.prefix + self._name
        left, reset = max(0, int(amount - use.used)), max(1, int(use.ends - self._clock()) + 1)
        return LimitState(amount, seconds, left, reset, name, self._unit)

    def ids_of(self, caller: Principal) -> dict[bytes, bytes]:
        """Map the id of the caller's user, and of the API key, to the id of its charges by this process."""
        return {use.user_id: use.id for use in self._uses_of(caller)}

    def _uses_of(self, caller: Principal) -> list[_WindowUse]:
        """Return what the user, and the API key, have used in their present windows; begin missing windows."""
        uses: list[_WindowUse] = []
        limit = self._limit_of(caller.limits)
        if limit is not None:
            now, user_id = self._clock(), caller.user_id
            use = self._uses.get(user_id)
            if use is None or use.ends <= now or use.limit.seconds != limit.seconds:
                self._uses.pop(user_id, None)
                if len(self._uses) >= _MAX_USERS:
                    del self._uses[next(iter(self._uses))]
                ends = (int(now) // limit.seconds + 1) * limit.seconds
                use = self._uses[user_id] = _WindowUse(user_id, caller.limits.prefix, limit, ends)
                self._store_later(use)  # so that QuotaKeeper also reads the charges of other processes
            use.limit = limit  # its amount may have changed
            uses.append(use)
        return uses if caller.key is None else [*uses, *self._uses_of(caller.key)]

    def now(self) -> int:
        """Return the time in whole seconds since the epoch."""
        return int(self._clock())

    def unstored(self) -> list[QuotaUse]:
        """Return the used amounts that QuotaKeeper must store: those that are new here, and those with new charges."""
        now = self._clock()  # windows that have ended no longer matter
        self._unstored = {key: use for key, use in self._unstored.items() if use.ends > now}
        return [
            QuotaUse(use.id, use.user_id, self._name, use.ends, round(use.charged * 1e6))
            for use in self._unstored.values()
        ]

    def stored(self, uses: Sequence[QuotaUse]) -> None:
        """Mark the used amounts in ``uses`` as stored, except those that were charged while they were being stored."""
        for stored in uses:
            use = self._unstored.get(stored.id)
            if use is not None and round(use.charged * 1e6) == stored.used:
                del self._unstored[stored.id]

    def learn(self, totals: Sequence[QuotaTotal]) -> None:
        """Update the amounts that other processes have charged, from the totals of their stored charges."""
        for total in totals:
            use = self._uses.get(total.user_id)
            if use is not None and (self._name, use.ends) == (total.quota, total.ends):
                use.others = total.used / 1e6

    def _store_later(self, use: _WindowUse) -> None:
        if len(self._unstored) < _MAX_USERS:  # reached only while the database is unavailable
            self._unstored[use.id] = use


def _shown(amount: float) -> float:
    """Return an amount rounded to millionths, as an integer if it is whole."""
    rounded = round(amount, 6)
    return int(rounded) if rounded.is_integer() else rounded


def compute_quota(metrics: Metrics) -> WindowQuota:
    """Return the quota of computing time, in seconds."""
    return WindowQuota("compute", "seconds of computing", "seconds", attrgetter("compute"), metrics)


def digits_quota(metrics: Metrics) -> WindowQuota:
    """Return the quota of results sent, in bytes."""
    return WindowQuota("digits", "bytes of results", "content-bytes", attrgetter("digits"), metrics)
