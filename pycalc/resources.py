"""The composition root: opens every backend in order, wires the services, and closes all in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

from pycalc.cache import open_cache
from pycalc.cache.base import Shared
from pycalc.db import open_database
from pycalc.db.base import HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.keys import SqlKeyStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import PycalcError
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts import Accounts
from pycalc.services.addresses import ClientAddresses
from pycalc.services.auth import Authenticator
from pycalc.services.bearers import Bearers
from pycalc.services.bootstrap import development_key, forget_bootstrap_token, offer_bootstrap_token
from pycalc.services.compute import Computer
from pycalc.services.feed import Feed
from pycalc.services.fingerprint import arithmetic_version
from pycalc.services.flights import FleetFlights
from pycalc.services.history import HistoryReader
from pycalc.services.keys import ApiKeys
from pycalc.services.limits import (
    Calculations,
    LoginLimit,
    RegistrationLimit,
    calculation_limit,
    login_limit,
    registration_limit,
)
from pycalc.services.math import Calculator
from pycalc.services.passwords import PasswordHasher
from pycalc.services.recorder import Recorder
from pycalc.services.relay import Relay
from pycalc.services.revocations import RevocationWatch
from pycalc.services.sessions import Sessions
from pycalc.services.tokens import TokenSigner
from pycalc.settings import Settings
from pycalc.streaming import open_stream

_PING_SECONDS = 2.0
_DISPENSABLE = {"cache"}
"""What the service does without: it is ready all the same."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a dependency's ping said."""

    name: str
    ok: bool
    latency_ms: float
    detail: str | None = None
    """What is wrong."""

    @property
    def fatal(self) -> bool:
        """Whether requests had better go elsewhere."""
        return not self.ok and self.name not in _DISPENSABLE


@dataclass(slots=True)
class Resources:
    """The services that the routers use."""

    metrics: Metrics
    authenticator: Authenticator
    accounts: Accounts
    calculator: Calculator
    history: HistoryReader
    feed: Feed
    addresses: ClientAddresses
    login_limit: LoginLimit
    registration_limit: RegistrationLimit
    calculation_limit: Calculations | None
    """None where there is no limit: the hot path asks no more than that."""
    bootstrap_token: str | None
    """The new bootstrap token, for the console."""
    pings: dict[str, Callable[[], Awaitable[None]]]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service is to end: open streams finish themselves."""

    async def check(self) -> list[Health]:
        """Ping every dependency, all at once, each with a deadline."""
        return list(await asyncio.gather(*(_check(name, ping) for name, ping in self.pings.items())))


async def _check(name: str, ping: Callable[[], Awaitable[None]]) -> Health:
    started = perf_counter()
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await ping()
        detail = None
    except PycalcError as error:
        detail = error.detail
    except TimeoutError:
        detail = f"There was no answer in {_PING_SECONDS:g} seconds."
    return Health(name, detail is None, round((perf_counter() - started) * 1000, 3), detail)


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything that the settings name.

    When opening fails halfway, what was opened is closed again. At the end the recorder commits what is queued,
    then the relay publishes what is committed, then the stream, the cache and the database are let go.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        database = await open_database(settings.database)
        stack.push_async_callback(database.aclose)
        users, history, outbox = SqlUserStore(database), SqlHistoryStore(database), SqlOutboxStore(database)
        newest = await history.page(HistoryFilter(), None, 1)
        ids = IdSource(newest[0].id if newest else None)
        cache = await open_cache(settings.cache_url, metrics, arithmetic_version())
        stack.push_async_callback(cache.aclose)
        shared = cache if isinstance(cache, Shared) else None
        stream = await open_stream(settings.stream_url, metrics)
        stack.push_async_callback(stream.aclose)
        relay = Relay(outbox, stream, metrics, shared=database.shared)
        stack.push_async_callback(relay.aclose)
        recorder = Recorder(history, metrics, committed=relay.wake)
        stack.push_async_callback(recorder.aclose)
        computer = Computer(metrics, workers=settings.compute_workers, timeout=settings.compute_timeout)
        passwords = PasswordHasher(metrics, settings.bcrypt_rounds)
        stack.push_async_callback(passwords.aclose)

        bootstrap_token = None
        if settings.admin_registration == "bootstrap":
            bootstrap_token = await offer_bootstrap_token(users, settings.data_dir)
        else:
            forget_bootstrap_token(settings.data_dir)
        secrets = [key.get_secret_value() for key in settings.secret_keys] or [development_key(settings.data_dir)]
        tokens = TokenSigner(secrets, ids, settings.access_token_seconds)
        bearers = Bearers(metrics, shared.hints.publish) if shared else Bearers(metrics)
        keys = ApiKeys(SqlKeyStore(database), ids)
        revocations = await RevocationWatch.open(SqlRevocationStore(database), bearers, metrics)
        stack.push_async_callback(revocations.aclose)
        if shared is not None:
            shared.hints.listen(revocations.hint)
        yield Resources(
            metrics=metrics,
            authenticator=Authenticator(
                users, Sessions(SqlSessionStore(database), ids), keys, passwords, tokens, bearers
            ),
            accounts=Accounts(
                users,
                keys,
                passwords,
                bearers,
                ids,
                settings.admin_registration,
                bootstrapped=lambda: forget_bootstrap_token(settings.data_dir),
            ),
            calculator=Calculator(
                cache,
                computer,
                recorder,
                ids,
                metrics,
                max_digits=settings.max_digits,
                batch_seconds=settings.compute_timeout,
                fleet=FleetFlights(shared.leases, metrics, settings.compute_timeout) if shared else None,
            ),
            history=HistoryReader(history, users),
            feed=Feed(history, stream, metrics),
            addresses=ClientAddresses(settings.trusted_proxies),
            login_limit=login_limit(settings.login_limit, metrics, shared),
            registration_limit=registration_limit(settings.register_limit, metrics, shared),
            calculation_limit=calculation_limit(settings.rate_limit, metrics, shared),
            bootstrap_token=bootstrap_token,
            pings={
                "database": database.ping,
                "cache": cache.ping,
                "stream": stream.ping,
                "recorder": recorder.ping,
                "relay": relay.ping,
            },
        )
