"""Limits: failed logins by account and address, registrations by address, calculations by user (ADR 12, 20)."""

from __future__ import annotations

from asyncio import CancelledError, Future, ensure_future, gather, shield
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from math import ceil
from time import monotonic
from typing import Protocol

from limits import RateLimitItem, RateLimitItemPerHour
from structlog import get_logger

from pycalc.cache.base import CounterStore, Shared, Spent
from pycalc.errors import Quota, RateLimited, Unauthorized, WrongPassword
from pycalc.models.limits import parse_limit
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.counters import MAX_KEYS, Counters, SharedCounters

_HOUR = 3600
_PER_ADDRESS = 10
"""An address may fail this many times as often as an account: there may be many people behind it."""
_AT_ONCE = 8
"""Tries that an address may have under way: a quarter of the places where passwords wait to be hashed."""
_PER_HOUR = 1.5
"""An account may fail this many times its limit in an hour's window; no hour touches more than two windows."""
_TRY_SECONDS = 60
"""For how long a try counts that never ended, because its process did."""

_log = get_logger(__name__)


def _counters(
    name: str,
    metrics: Metrics,
    shared: Shared | None,
    bound: int = MAX_KEYS,
    clock: Callable[[], float] = monotonic,
    *,
    lenient: bool = False,
) -> CounterStore:
    """Return the counters of one limit: those that processes share, where there are any."""
    own = Counters(bound, clock)
    counters = own if shared is None else SharedCounters(shared.counters(name), own, metrics, name, lenient=lenient)
    metrics.limit_keys.labels(name).set_function(lambda: len(counters))
    return counters


class _Window:
    """One limit over one set of counters."""

    def __init__(self, limit: RateLimitItem, counters: CounterStore) -> None:
        self._limit = limit
        self._counters = counters
        self.amount = limit.amount

    def name(self, key: str) -> str:
        """Return what the counter of a key is called."""
        return self._limit.key_for(key)

    async def spend(self, key: str, cost: int = 1) -> tuple[bool, Quota]:
        """Count ``cost`` when the limit allows it, else nothing; return whether it did, and how the key stands."""
        spent: Spent = await self._counters.spend(self.name(key), self._limit.get_expiry(), cost, self.amount)
        window = self._limit.get_expiry()
        seconds = max(0, ceil(spent.seconds)) or window
        return spent.allowed, Quota(self.amount, window, self.amount - spent.used, seconds)

    async def exhausted(self, key: str) -> bool:
        """Return whether not even a cost of one would be allowed."""
        return await self._counters.get(self.name(key)) >= self.amount

    async def clear(self, key: str) -> None:
        """Forget what was counted for a key."""
        await self._counters.clear(self.name(key))


class _Failures:
    """Failures of one kind of key: when a window is full, a wait that doubles each time, up to an hour.

    Counters may be far away, in a store that answers in the order of asking: what can be asked together is.
    """

    def __init__(self, name: str, limits: Sequence[RateLimitItem], counters: CounterStore, metrics: Metrics) -> None:
        """``limits``: that of the shortest window, whose length is the first wait, and others beside it."""
        self._name = name
        self._counters = counters
        self._first_wait = min(limits[0].get_expiry(), _HOUR)
        self._windows = [_Window(limit, counters) for limit in limits]
        self._refused = metrics.rate_limited.labels(name)

    @asynccontextmanager
    async def trying(self, key: str) -> AsyncIterator[None]:
        """Count a try that is under way as if it had failed; raises RateLimited when its key must wait."""
        counting = ensure_future(self._counters.incr(f"{key} trying", _TRY_SECONDS))
        try:
            await self._admit(key, shield(counting))  # whoever leaves meanwhile is counted, and no more
            yield
        finally:
            await shield(self._counters.incr(f"{key} trying", _TRY_SECONDS, -1))

    async def _admit(self, key: str, counting: Future[int]) -> None:
        """Ask how a key stands after its try is counted: a failure that no window has yet is of a try under way."""
        wait, windows = f"{key} wait", {window.name(key): window.amount for window in self._windows}
        under_way, waits, *failed = await gather(counting, *map(self._counters.get, (wait, *windows)))
        left = {name: windows[name] - count for name, count in zip(windows, failed, strict=True)}
        full = [wait] * bool(waits) + [name for name in left if left[name] <= 0]
        if full or min(left.values()) < under_way:
            self._refused.inc()
            raise RateLimited("Too many wrong passwords; try again later.", await self._seconds(full) if full else 1)

    async def failed(self, key: str) -> None:
        """Count a failure; the one that fills a window begins a wait."""
        spent = await gather(*(window.spend(key) for window in self._windows))
        if all(quota.remaining for _, quota in spent):
            return
        strikes = await self._counters.incr(f"{key} strikes", 3 * _HOUR)
        wait = min(_HOUR, self._first_wait * 2 ** min(strikes - 1, 12))
        await gather(self._counters.clear(f"{key} wait"), self._counters.incr(f"{key} wait", wait))
        _log.warning("logins refused", limit=self._name, key=key, seconds=wait)

    async def succeeded(self, key: str) -> None:
        """Forget a key's wait and the failures of its shortest window; a longer one keeps its own."""
        forgotten = (self._counters.clear(f"{key} {suffix}") for suffix in ("strikes", "wait"))
        await gather(self._windows[0].clear(key), *forgotten)

    async def _seconds(self, names: Sequence[str]) -> int:
        """Return for how long the counter lives that does so longest, 1 at least."""
        expiries = await gather(*map(self._counters.get_expiry, names))
        return max(1, ceil(max(expiries) - self._counters.clock()))


class LoginLimit(Protocol):
    """Says who may try a password, at a login or to change it."""

    def attempt(self, username: str, address: str) -> AbstractAsyncContextManager[None]:
        """Return the context of one try: raises RateLimited at its beginning.

        Unauthorized and WrongPassword within are a failure.
        """


class FailedLogins:
    """Limits failed logins: by account, whether it exists or not, and ten times as many by address.

    With a limit of N for less than an hour, no 60 minutes of an account see more than 3 N failures, rounded up.
    """

    def __init__(
        self,
        limit: str,
        metrics: Metrics,
        shared: Shared | None = None,
        *,
        bound: int = MAX_KEYS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        per_account = parse_limit(limit)
        per_address = type(per_account)(per_account.amount * _PER_ADDRESS, per_account.multiples)
        of_account = [per_account]
        if per_account.get_expiry() < _HOUR:
            of_account.append(RateLimitItemPerHour(ceil(per_account.amount * _PER_HOUR)))

        def failures(name: str, limits: Sequence[RateLimitItem]) -> _Failures:
            return _Failures(name, limits, _counters(name, metrics, shared, bound, clock), metrics)

        self._accounts = failures("login-account", of_account)
        self._addresses = failures("login-address", [per_address])
        self._at_once: Counter[str] = Counter()
        self._refused = metrics.rate_limited.labels("login-address")

    @asynccontextmanager
    async def attempt(self, username: str, address: str) -> AsyncIterator[None]:
        account = username.lower()
        with self._room(address):
            async with self._addresses.trying(address), self._accounts.trying(account):
                try:
                    yield
                except (Unauthorized, WrongPassword, CancelledError):  # hanging up must not make a guess free
                    await shield(self._failed(account, address))
                    raise
        await self._accounts.succeeded(account)

    @contextmanager
    def _room(self, address: str) -> Iterator[None]:
        """Count a try that may take one of this process's places for hashing; raises RateLimited."""
        if self._at_once[address] >= _AT_ONCE:
            self._refused.inc()
            raise RateLimited("Too many logins at once from this address; try again later.")
        self._at_once[address] += 1
        try:
            yield
        finally:
            self._at_once[address] -= 1
            if not self._at_once[address]:
                del self._at_once[address]

    async def _failed(self, account: str, address: str) -> None:
        await gather(self._addresses.failed(address), self._accounts.failed(account))


class NoLoginLimit:
    """Lets everybody try."""

    @asynccontextmanager
    async def attempt(self, username: str, address: str) -> AsyncIterator[None]:
        yield


class RegistrationLimit(Protocol):
    """Says who may register."""

    async def admit(self, address: str) -> None:
        """Count a registration from an address; raises RateLimited."""


class RegistrationRateLimit:
    """Limits registrations by address, whether they succeed or not."""

    def __init__(
        self, limit: str, metrics: Metrics, shared: Shared | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._refused = metrics.rate_limited.labels("register")
        self._window = _Window(parse_limit(limit), _counters("register", metrics, shared, clock=clock))

    async def admit(self, address: str) -> None:
        allowed, quota = await self._window.spend(address)
        if not allowed:
            self._refused.inc()
            raise RateLimited("Too many registrations from this address; try again later.", quota.reset)


class NoRegistrationLimit:
    """Lets everybody register."""

    async def admit(self, address: str) -> None:
        """Count nothing."""


class CalculationRateLimit:
    """Limits calculations by user. There is no null twin: where there is no limit, the hot path must not await one."""

    def __init__(
        self, limit: str, metrics: Metrics, shared: Shared | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._refused = metrics.rate_limited.labels("calculations")
        counters = _counters("calculations", metrics, shared, clock=clock, lenient=True)
        self._window = _Window(parse_limit(limit), counters)

    async def require_some(self, user_id: bytes) -> None:
        """Raise RateLimited when the user may not do a single calculation now; counts nothing otherwise."""
        if await self._window.exhausted(user_id.hex()):
            await self.spend(user_id)

    async def spend(self, user_id: bytes, operations: int = 1) -> Quota:
        """Count calculations, all of them or none, and return how the user stands; raises RateLimited."""
        allowed, quota = await self._window.spend(user_id.hex(), operations)
        if allowed:
            return quota
        self._refused.inc()
        if operations > quota.amount:
            detail = f"A batch of {operations} is more than the limit of {quota.amount} calculations ever allows."
        else:
            detail = f"No more than {quota.amount} calculations in {quota.window} seconds."
        raise RateLimited(detail, quota.reset, quota)


def login_limit(limit: str, metrics: Metrics, shared: Shared | None = None) -> LoginLimit:
    """Return what the setting asks for; empty: no limit."""
    return FailedLogins(limit, metrics, shared) if limit else NoLoginLimit()


def registration_limit(limit: str, metrics: Metrics, shared: Shared | None = None) -> RegistrationLimit:
    """Return what the setting asks for; empty: no limit."""
    return RegistrationRateLimit(limit, metrics, shared) if limit else NoRegistrationLimit()


def calculation_limit(limit: str, metrics: Metrics, shared: Shared | None = None) -> CalculationRateLimit | None:
    """Return what the setting asks for; empty: None."""
    return CalculationRateLimit(limit, metrics, shared) if limit else None
