"""Rate limits on failed logins, registrations and requests for pages (ADR 12, ADR 20)."""

from __future__ import annotations

from asyncio import CancelledError, ensure_future, gather, shield
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from math import ceil
from sys import maxsize
from time import monotonic

from limits import RateLimitItem, RateLimitItemPerHour
from structlog import get_logger

from pycalc.cache.base import Bound, CounterStore, Shared
from pycalc.errors import Overloaded, RateLimited, TotpRequired, Unauthorized, WrongPassword
from pycalc.models.limits import parse_limit, parse_limits
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.counters import MAX_KEYS, Windows, counters_of

_HOUR = 3600
_PER_ADDRESS = 10  # multiple of an account's limit, because many people may share an address
_AT_ONCE = 8  # concurrent attempts of an address: a quarter of the password hasher's slots
_PER_HOUR = 1.5  # multiple of an account's limit, for an hour; any 60 minutes overlap at most two hourly windows
_TRY_SECONDS = 60  # a count of running attempts expires, because their process may have died

_log = get_logger(__name__)


class _Failures:
    """The failed login attempts of one kind of key: account names or addresses.

    When the failures of a key reach a limit, its next attempts are refused for some time. Within three hours, each of
    these waits is twice as long as the one before, up to an hour.
    """

    def __init__(self, name: str, limits: Sequence[RateLimitItem], counters: CounterStore, metrics: Metrics) -> None:
        """Count failures towards ``limits``, of which the first must have the shortest window."""
        self._name = name
        self._first_wait = min(limits[0].get_expiry(), _HOUR)
        self._windows = Windows(limits, counters)
        self._refused = metrics.rate_limited.labels(name)

    @asynccontextmanager
    async def trying(self, key: str) -> AsyncIterator[None]:
        """Return a context for an attempt, which counts as a possible failure until the context ends.

        Raises RateLimited if the key must wait, a window is full, or concurrent attempts could overfill a window.
        """
        counters, running = self._windows.counters, [Bound(f"{key} trying", _TRY_SECONDS)]
        bounds = [Bound(f"{key} wait", _HOUR, 1), *self._windows.bounds(key)]
        counting = ensure_future(counters.spend(1, running))
        try:
            # Shielded, because ``finally`` subtracts this count again. Both requests to a remote store run at once.
            (trying,), states = await gather(shield(counting), counters.spend(0, bounds))
            left = [bound.limit - state.used for bound, state in zip(bounds, states, strict=True)]
            if min(left) <= 0 or min(left[1:]) < trying.used:
                self._refused.inc()
                waits = [ceil(state.seconds) for room, state in zip(left, states, strict=True) if room <= 0]
                raise RateLimited("Too many wrong passwords; try again later.", max([1, *waits]))
            yield
        finally:
            await shield(counters.spend(-1, running))

    async def failed(self, key: str) -> None:
        """Count a failure. If the failure fills a window, refuse the key's next attempts for some time."""
        states, _ = await self._windows.spend(key, 1)
        if all(state.remaining for state in states):
            return
        (strikes,) = await self._windows.counters.spend(1, [Bound(f"{key} strikes", 3 * _HOUR)])
        wait = min(_HOUR, self._first_wait * 2 ** min(strikes.used - 1, 12))
        await self._windows.counters.spend(1, [Bound(f"{key} wait", wait)])
        _log.warning("logins refused", limit=self._name, key=key, seconds=wait)

    async def succeeded(self, key: str) -> None:
        """Reset a key's waits and its count in the shortest window; longer windows keep their counts."""
        await self._windows.counters.clear(self._windows.bounds(key)[0].key, f"{key} strikes", f"{key} wait")


class FailedLogins:
    """A limit on failed password checks, by account name and by address. The limit by address is ten times as high.

    Names without an account count like the names of accounts. If the limit is N in a window shorter than an hour, an
    account also has a limit of 1.5 N, rounded up, in windows of an hour. Any 60 minutes overlap at most two of these
    windows, so an account sees at most 3 N failures in them, or 3 N + 1 if N is odd. Without a shared cache, each
    process counts on its own.
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
        """Create a limit such as ``10/minute``; an empty text limits nothing."""

        def failures(name: str, limits: Sequence[RateLimitItem]) -> _Failures:
            return _Failures(name, limits, counters_of(name, metrics, shared, bound, clock), metrics)

        self._kinds: list[_Failures] = []  # by address, and by account name
        if limit:
            per_account = parse_limit(limit)
            per_address = type(per_account)(per_account.amount * _PER_ADDRESS, per_account.multiples)
            of_account = [per_account]
            if per_account.get_expiry() < _HOUR:
                of_account.append(RateLimitItemPerHour(ceil(per_account.amount * _PER_HOUR)))
            refused = metrics.rate_limited.labels("login-address")
            detail = "Too many logins at once from this address; try again later."
            self._attempts = ConcurrencyLimit(maxsize, refused, detail, each=_AT_ONCE)
            self._kinds = [failures("login-address", [per_address]), failures("login-account", of_account)]

    @asynccontextmanager
    async def attempt(self, username: str | None, address: str) -> AsyncIterator[None]:
        """Return a context for one check of a password or a code; raises RateLimited on entry if a limit is reached.

        If ``username`` is None, the check counts by address alone. The check has failed if the context ends with
        Unauthorized, WrongPassword or a cancellation. It has not failed if the context ends with TotpRequired, because
        then the password was right.
        """
        names = [address] if username is None else [address, username.lower()]
        counted = list(zip(self._kinds, names, strict=False))
        async with AsyncExitStack() as stack:
            try:
                if counted:
                    stack.enter_context(self._attempts.acquire(address))
            except Overloaded as error:  # the client's fault, not the service's
                raise RateLimited(error.detail) from None
            for failures, key in counted:
                await stack.enter_async_context(failures.trying(key))
            try:
                yield
            except TotpRequired:  # a right password without its code: neither a failure nor a success
                raise
            except (Unauthorized, WrongPassword, CancelledError):  # hanging up must not make a guess free
                await shield(gather(*(failures.failed(key) for failures, key in counted)))
                raise
        for failures, name in counted[1:]:  # the account's, but not the address's
            await failures.succeeded(name)


class AddressRateLimit:
    """A limit on the requests of each address, such as registrations, in one or several windows."""

    def __init__(
        self,
        name: str,
        noun: str,
        limit: str,
        metrics: Metrics,
        shared: Shared | None = None,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Create a limit; an empty text limits nothing. ``noun`` is the word for the requests in refusals."""
        self._detail = f"Too many {noun} from this address; try again later."
        self._windows: Windows | None = None
        if limit:
            self._refused = metrics.rate_limited.labels(name)
            self._windows = Windows(parse_limits(limit), counters_of(name, metrics, shared, clock=clock))

    async def admit(self, address: str) -> None:
        """Count a request, even if it fails later; raises RateLimited if its address has reached the limit."""
        if self._windows is None:
            return
        _, full = await self._windows.spend(address, 1)
        if full:
            self._refused.inc()
            raise RateLimited(self._detail, max(state.reset for state in full))
