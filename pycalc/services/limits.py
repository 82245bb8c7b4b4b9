"""Limits: failed logins by account and address, registrations by address, calculations by user (ADR 12)."""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from math import ceil
from time import monotonic
from typing import Protocol

from limits import RateLimitItem, RateLimitItemPerHour, parse_many
from limits.aio.strategies import FixedWindowRateLimiter
from structlog import get_logger

from pycalc.errors import Quota, RateLimited, Unauthorized, WrongPassword
from pycalc.observability.metrics import Metrics
from pycalc.services.counters import MAX_KEYS, Counters

_HOUR = 3600
_PER_ADDRESS = 10
"""An address may fail this many times as often as an account: there may be many people behind it."""
_AT_ONCE = 8
"""Tries that an address may have under way: a quarter of the places where passwords wait to be hashed."""
_PER_HOUR = 1.5
"""An account may fail this many times its limit in an hour's window; no hour touches more than two windows."""

_log = get_logger(__name__)


def parse_limit(text: str) -> RateLimitItem:
    """Return a limit such as ``10/minute`` or ``100 per 2 hours``; raises ValueError with a sentence."""
    try:
        (limit,) = parse_many(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a limit such as 10/minute") from None
    if limit.amount < 1:
        raise ValueError(f"{text!r} allows nothing; leave it empty for no limit")
    return limit


class _Window:
    """One limit over one set of counters."""

    def __init__(self, limit: RateLimitItem, counters: Counters) -> None:
        self._limit = limit
        self._counters = counters
        self._limiter = FixedWindowRateLimiter(counters)

    async def quota(self, key: str) -> Quota:
        """Return how a key stands."""
        expiry, remaining = await self._limiter.get_window_stats(self._limit, key)
        left = max(0, ceil(expiry - self._counters.clock())) or self._limit.get_expiry()
        return Quota(self._limit.amount, self._limit.get_expiry(), remaining, left)

    async def hit(self, key: str, cost: int = 1) -> bool:
        """Count ``cost`` and return True when the limit allows it; else count nothing."""
        return await self._limiter.test(self._limit, key, cost=cost) and await self._limiter.hit(
            self._limit, key, cost=cost
        )

    async def clear(self, key: str) -> None:
        """Forget what was counted for a key."""
        await self._limiter.clear(self._limit, key)


class _Failures:
    """Failures of one kind of key: when a window is full, a wait that doubles each time, up to an hour."""

    def __init__(self, name: str, limits: Sequence[RateLimitItem], counters: Counters, metrics: Metrics) -> None:
        """``limits``: that of the shortest window, whose length is the first wait, and others beside it."""
        self._name = name
        self._counters = counters
        self._first_wait = min(limits[0].get_expiry(), _HOUR)
        self._windows = [_Window(limit, counters) for limit in limits]
        self._trying: Counter[str] = Counter()
        metrics.limit_keys.labels(name).set_function(lambda: len(counters))
        self._refused = metrics.rate_limited.labels(name)

    async def admit(self, key: str) -> None:
        """Raise RateLimited when a key must wait; a try that is under way counts as if it had failed."""
        wait = await self._blocked(key)
        for window in self._windows:
            quota = await window.quota(key)
            if not quota.remaining:
                wait = max(wait, quota.reset)
            elif quota.remaining <= self._trying[key]:
                wait = max(wait, 1)
        if wait:
            self._refused.inc()
            raise RateLimited("Too many wrong passwords; try again later.", wait)

    @contextmanager
    def trying(self, key: str) -> Iterator[None]:
        """Count a try that is under way."""
        self._trying[key] += 1
        try:
            yield
        finally:
            self._trying[key] -= 1
            if not self._trying[key]:
                del self._trying[key]

    async def failed(self, key: str) -> None:
        """Count a failure; the one that fills a window begins a wait."""
        for window in self._windows:
            await window.hit(key)
        if all([(await window.quota(key)).remaining for window in self._windows]):
            return
        strikes = await self._counters.incr(f"{key} strikes", 3 * _HOUR)
        wait = min(_HOUR, self._first_wait * 2 ** min(strikes - 1, 12))
        await self._counters.clear(f"{key} wait")
        await self._counters.incr(f"{key} wait", wait)
        _log.warning("logins refused", limit=self._name, key=key, seconds=wait)

    def require_room(self, key: str) -> None:
        """Raise RateLimited when a key has too many tries under way, whether they will fail or not."""
        if self._trying[key] >= _AT_ONCE:
            self._refused.inc()
            raise RateLimited("Too many logins at once from this address; try again later.")

    async def succeeded(self, key: str) -> None:
        """Forget a key's wait and the failures of its shortest window; a longer one keeps its own."""
        await self._windows[0].clear(key)
        for suffix in ("strikes", "wait"):
            await self._counters.clear(f"{key} {suffix}")

    async def _blocked(self, key: str) -> int:
        """Return the seconds for which a key must wait yet."""
        if not await self._counters.get(f"{key} wait"):
            return 0
        return ceil(await self._counters.get_expiry(f"{key} wait") - self._counters.clock())


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
        self, limit: str, metrics: Metrics, *, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic
    ) -> None:
        per_account = parse_limit(limit)
        per_address = type(per_account)(per_account.amount * _PER_ADDRESS, per_account.multiples)
        of_account = [per_account]
        if per_account.get_expiry() < _HOUR:
            of_account.append(RateLimitItemPerHour(ceil(per_account.amount * _PER_HOUR)))
        self._accounts = _Failures("login-account", of_account, Counters(bound, clock), metrics)
        self._addresses = _Failures("login-address", [per_address], Counters(bound, clock), metrics)

    @asynccontextmanager
    async def attempt(self, username: str, address: str) -> AsyncIterator[None]:
        account = username.lower()
        self._addresses.require_room(address)
        await self._addresses.admit(address)
        await self._accounts.admit(account)
        with self._addresses.trying(address), self._accounts.trying(account):
            try:
                yield
            except (Unauthorized, WrongPassword, CancelledError):  # hanging up must not make a guess free
                await self._addresses.failed(address)
                await self._accounts.failed(account)
                raise
        await self._accounts.succeeded(account)


class NoLoginLimit:
    """Lets everybody try."""

    @asynccontextmanager
    async def attempt(self, username: str, address: str) -> AsyncIterator[None]:
        yield


class RegistrationLimit(Protocol):
    """Says who may register."""

    async def admit(self, address: str) -> None:
        """Count a registration from an address; raises RateLimited."""


class Registrations:
    """Limits registrations by address, whether they succeed or not."""

    def __init__(
        self, limit: str, metrics: Metrics, *, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic
    ) -> None:
        counters = Counters(bound, clock)
        metrics.limit_keys.labels("register").set_function(lambda: len(counters))
        self._refused = metrics.rate_limited.labels("register")
        self._window = _Window(parse_limit(limit), counters)

    async def admit(self, address: str) -> None:
        if not await self._window.hit(address):
            self._refused.inc()
            quota = await self._window.quota(address)
            raise RateLimited("Too many registrations from this address; try again later.", quota.reset)


class NoRegistrationLimit:
    """Lets everybody register."""

    async def admit(self, address: str) -> None:
        """Count nothing."""


class Calculations:
    """Limits calculations by user. There is no null twin: where there is no limit, the hot path must not await one."""

    def __init__(
        self, limit: str, metrics: Metrics, *, bound: int = MAX_KEYS, clock: Callable[[], float] = monotonic
    ) -> None:
        counters = Counters(bound, clock)
        metrics.limit_keys.labels("calculations").set_function(lambda: len(counters))
        self._refused = metrics.rate_limited.labels("calculations")
        self._window = _Window(parse_limit(limit), counters)

    async def spend(self, user_id: bytes, operations: int = 1) -> Quota:
        """Count calculations, all of them or none, and return how the user stands; raises RateLimited."""
        key = user_id.hex()
        spent = await self._window.hit(key, operations)
        quota = await self._window.quota(key)
        if spent:
            return quota
        self._refused.inc()
        if operations > quota.amount:
            detail = f"A batch of {operations} is more than the limit of {quota.amount} calculations ever allows."
        else:
            detail = f"No more than {quota.amount} calculations in {quota.window} seconds."
        raise RateLimited(detail, quota.reset, quota)


def login_limit(limit: str, metrics: Metrics) -> LoginLimit:
    """Return what the setting asks for; empty: no limit."""
    return FailedLogins(limit, metrics) if limit else NoLoginLimit()


def registration_limit(limit: str, metrics: Metrics) -> RegistrationLimit:
    """Return what the setting asks for; empty: no limit."""
    return Registrations(limit, metrics) if limit else NoRegistrationLimit()


def calculation_limit(limit: str, metrics: Metrics) -> Calculations | None:
    """Return what the setting asks for; empty: None."""
    return Calculations(limit, metrics) if limit else None
