"""The composition root: opens every backend in order, wires the services, and closes all in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

from pycalc.cache import open_cache
from pycalc.db import open_database
from pycalc.db.base import HistoryFilter
from pycalc.db.history import SqlHistoryStore
from pycalc.db.keys import SqlKeyStore
from pycalc.db.outbox import SqlOutboxStore
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
from pycalc.services.exports import Exports
from pycalc.services.feed import Feed
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
from pycalc.services.retention import Retention, parse_age
from pycalc.services.sessions import Sessions
from pycalc.services.tokens import TokenSigner
from pycalc.settings import Settings
from pycalc.streaming import open_stream

_PING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """What a dependency's ping said."""

    name: str
    ok: bool
    latency_ms: float


@dataclass(slots=True)
class Resources:
    """The services that the routers use."""

    metrics: Metrics
    authenticator: Authenticator
    accounts: Accounts
    calculator: Calculator
    history: HistoryReader
    exports: Exports
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
        ok = True
    except (PycalcError, TimeoutError):
        ok = False
    return Health(name, ok, round((perf_counter() - started) * 1000, 3))


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
        cache = await open_cache(settings.cache_url, metrics)
        stack.push_async_callback(cache.aclose)
        stream = await open_stream(settings.stream_url, metrics)
        stack.push_async_callback(stream.aclose)
        relay = Relay(outbox, stream, metrics)
        stack.push_async_callback(relay.aclose)
        recorder = Recorder(history, metrics, committed=relay.wake)
        stack.push_async_callback(recorder.aclose)
        if settings.history_retention:
            retention = Retention(history, parse_age(settings.history_retention), metrics)
            stack.push_async_callback(retention.aclose)
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
        bearers, keys = Bearers(metrics), ApiKeys(SqlKeyStore(database), ids)
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
            ),
            history=HistoryReader(history, users),
            exports=Exports(history, users, metrics),
            feed=Feed(history, stream, metrics),
            addresses=ClientAddresses(settings.trusted_proxies),
            login_limit=login_limit(settings.login_limit, metrics),
            registration_limit=registration_limit(settings.register_limit, metrics),
            calculation_limit=calculation_limit(settings.rate_limit, metrics),
            bootstrap_token=bootstrap_token,
            pings={
                "database": database.ping,
                "cache": cache.ping,
                "stream": stream.ping,
                "recorder": recorder.ping,
                "relay": relay.ping,
            },
        )
