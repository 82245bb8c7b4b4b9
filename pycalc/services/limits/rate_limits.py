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

from pycalc.cache.base import CounterStore, Shared
from pycalc.errors import Overloaded, RateLimited, TotpRequired, Unauthorized, WrongPassword
from pycalc.models.limits import parse_limit, parse_limits
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.counters import MAX_KEYS, Window, counters_of, spend_all

_HOUR = 3600
_PER_ADDRESS = 10  # multiple of an account's limit, because many people may share an address
_AT_ONCE = 8  # concurrent attempts of an address: a quarter of the password hasher's slots
_PER_HOUR = 1.5  # multiple of an account's limit, for an hour; any 60 minutes overlap at most two hourly windows
_TRY_SECONDS = 60  # a count of running attempts expires, because their process may have died

_log = get_logger(__name__)


class _Failures:
    """The failed login attempts of one kind of key: account names or addresses.

    When the failures of a key reach a limit, its next attempts are refused for some time. Within three hours, each of
    these waits is twice as long as the one before, up to an hour. The counters may be in a remote store, so independent
    requests to that store run concurrently.
    """

    def __init__(self, name: str, limits: Sequence[RateLimitItem], counters: CounterStore, metrics: Metrics) -> None:
        """Count failures towards ``limits``, of which the first must have the shortest window."""
        self._name = name
        self._counters = counters
        self._first_wait = min(limits[0].get_expiry(), _HOUR)
        self._windows = [Window(limit, counters) for limit in limits]
        self._refused = metrics.rate_limited.labels(name)

    @asynccontextmanager
    async def trying(self, key: str) -> AsyncIterator[None]:
        """Return a context for an attempt, which counts as a possible failure until the context ends.

        Raises RateLimited if the key must wait, a window is full, or concurrent attempts could overfill a window.
        """
        wait, windows = f"{key} wait", {window.name(key): window.amount for window in self._windows}
        counting = ensure_future(self._counters.incr(f"{key} trying", _TRY_SECONDS))
        try:
            # Shielded, because ``finally`` subtracts this count again.
            trying, waits, *failed = await gather(shield(counting), *map(self._counters.get, (wait, *windows)))
            left = {name: windows[name] - count for name, count in zip(windows, failed, strict=True)}
            full = [wait] * bool(waits) + [name for name in left if left[name] <= 0]
            if full or min(left.values()) < trying:
                self._refused.inc()
                expiries = await gather(*map(self._counters.get_expiry, full))
                seconds = [ceil(expiry - self._counters.clock()) for expiry in expiries]
                raise RateLimited("Too many wrong passwords; try again later.", max([1, *seconds]))
            yield
        finally:
            await shield(self._counters.incr(f"{key} trying", _TRY_SECONDS, -1))

    async def failed(self, key: str) -> None:
        """Count a failure. If the failure fills a window, refuse the key's next attempts for some time."""
        spent = await gather(*(spend_all((window,), key, 1) for window in self._windows))
        if all(quota.remaining for quotas, _ in spent for quota in quotas):
            return
        strikes = await self._counters.incr(f"{key} strikes", 3 * _HOUR)
        wait = min(_HOUR, self._first_wait * 2 ** min(strikes - 1, 12))
        await gather(self._counters.clear(f"{key} wait"), self._counters.incr(f"{key} wait", wait))
        _log.warning("logins refused", limit=self._name, key=key, seconds=wait)

    async def succeeded(self, key: str) -> None:
        """Reset a key's waits and its count in the shortest window; longer windows keep their counts."""
        names = (self._windows[0].name(key), f"{key} strikes", f"{key} wait")
        await gather(*map(self._counters.clear, names))


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
        per_account = parse_limit(limit)
        per_address = type(per_account)(per_account.amount * _PER_ADDRESS, per_account.multiples)
        of_account = [per_account]
        if per_account.get_expiry() < _HOUR:
            of_account.append(RateLimitItemPerHour(ceil(per_account.amount * _PER_HOUR)))

        def failures(name: str, limits: Sequence[RateLimitItem]) -> _Failures:
            return _Failures(name, limits, counters_of(name, metrics, shared, bound, clock), metrics)

        self._accounts = failures("login-account", of_account)
        self._addresses = failures("login-address", [per_address])
        refused = metrics.rate_limited.labels("login-address")
        detail = "Too many logins at once from this address; try again later."
        self._attempts = ConcurrencyLimit(maxsize, refused, detail, each=_AT_ONCE)

    @asynccontextmanager
    async def attempt(self, username: str | None, address: str) -> AsyncIterator[None]:
        """Return a context for one check of a password or a code; raises RateLimited on entry if a limit is reached.

        If ``username`` is None, the check counts by address alone. The check has failed if the context ends with
        Unauthorized, WrongPassword or a cancellation. It has not failed if the context ends with TotpRequired, because
        then the password was right.
        """
        keys = [(self._addresses, address)]
        if username is not None:
            keys.append((self._accounts, username.lower()))
        try:
            slot = self._attempts.acquire(address)
        except Overloaded as error:  # the client's fault, not the service's
            raise RateLimited(error.detail) from None
        async with AsyncExitStack() as stack:
            stack.enter_context(slot)
            for failures, key in keys:
                await stack.enter_async_context(failures.trying(key))
            try:
                yield
            except TotpRequired:  # a right password without its code: neither a failure nor a success
                raise
            except (Unauthorized, WrongPassword, CancelledError):  # hanging up must not make a guess free
                await shield(gather(*(failures.failed(key) for failures, key in keys)))
                raise
        if username is not None:
            await self._accounts.succeeded(username.lower())


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
        """Create a limit. ``noun`` is the word for the requests in refusals, such as "registrations"."""
        self._refused = metrics.rate_limited.labels(name)
        self._detail = f"Too many {noun} from this address; try again later."
        counters = counters_of(name, metrics, shared, clock=clock)
        self._windows = [Window(each, counters) for each in parse_limits(limit)]

    async def admit(self, address: str) -> None:
        """Count a request, even if it fails later; raises RateLimited if its address has reached the limit."""
        _, full = await spend_all(self._windows, address, 1)
        if full:
            self._refused.inc()
            raise RateLimited(self._detail, max(quota.reset for quota in full))


class NoLimit:
    """A replacement for FailedLogins and AddressRateLimit that limits nothing."""

    @asynccontextmanager
    async def attempt(self, username: str | None, address: str) -> AsyncIterator[None]:
        yield

    async def admit(self, address: str) -> None:
        return


def login_limit(limit: str, metrics: Metrics, shared: Shared | None = None) -> FailedLogins | NoLimit:
    """Return the limit on failed password checks that a setting describes; an empty setting means no limit."""
    return FailedLogins(limit, metrics, shared) if limit else NoLimit()


def address_limit(
    name: str, noun: str, limit: str, metrics: Metrics, shared: Shared | None = None
) -> AddressRateLimit | NoLimit:
    """Return the limit on the requests of each address that a setting describes; an empty setting means no limit."""
    return AddressRateLimit(name, noun, limit, metrics, shared) if limit else NoLimit()
