"""The composition root: opens every backend in order, wires the services, and closes all in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from pycalc.cache import open_cache
from pycalc.cache.base import Shared
from pycalc.db import open_database
from pycalc.db.base import Database, HistoryFilter
from pycalc.db.dead_letters import SqlDeadLetterStore
from pycalc.db.history import SqlHistoryStore
from pycalc.db.keys import SqlKeyStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.sessions import SqlSessionStore
from pycalc.db.usage import SqlUsageStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import PycalcError, StoreUnavailable, StreamUnavailable
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import NO_TRACER, Tracer, open_tracer
from pycalc.services.accounts import Accounts
from pycalc.services.addresses import ClientAddresses
from pycalc.services.audit import RefusalLog
from pycalc.services.auth import Authenticator
from pycalc.services.bearers import Bearers
from pycalc.services.bootstrap import (
    KEY_FILE,
    PASSWORD_KEY_FILE,
    development_key,
    forget_bootstrap_token,
    offer_bootstrap_token,
)
from pycalc.services.compute import Computer
from pycalc.services.exports import Exports
from pycalc.services.feed import Feed
from pycalc.services.fingerprint import arithmetic_version
from pycalc.services.flights import FleetFlights
from pycalc.services.history import HistoryReader
from pycalc.services.keyfile import KeyFile, read_keys
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
from pycalc.services.revocations import RevocationWatch
from pycalc.services.sessions import Sessions
from pycalc.services.tail import HistoryTail
from pycalc.services.tokens import TokenSigner
from pycalc.services.usage import UsageConsumer, UsageReader
from pycalc.settings import Settings
from pycalc.streaming import open_stream
from pycalc.streaming.base import Consumable, Stream

_PING_SECONDS = 2.0
_DISPENSABLE = {"cache", "stream", "relay", "consumer"}
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
    computer: Computer
    history: HistoryReader
    usage: UsageReader
    exports: Exports
    feed: Feed
    addresses: ClientAddresses
    refusal_log: RefusalLog
    login_limit: LoginLimit
    registration_limit: RegistrationLimit
    calculation_limit: Calculations | None
    """None where there is no limit: the hot path asks no more than that."""
    bootstrap_token: str | None
    """The new bootstrap token, for the console."""
    pings: dict[str, Callable[[], Awaitable[None]]]
    tracer: Tracer = NO_TRACER
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


def _key_file(settings: Settings) -> Path | None:
    """Return the file that holds the signing keys, None when the settings do; in development it is made once."""
    if settings.secret_keys or settings.secret_keys_file:
        return settings.secret_keys_file
    file = settings.data_dir / KEY_FILE
    development_key(file)
    return file


def _hasher(settings: Settings, metrics: Metrics) -> PasswordHasher:
    """Return the hasher with the settings' keys, or the one of the data folder."""
    keys = [key.get_secret_value() for key in settings.password_keys]
    return PasswordHasher(
        metrics, settings.bcrypt_rounds, keys or [development_key(settings.data_dir / PASSWORD_KEY_FILE)]
    )


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """Open what the command line keeps accounts with: the database, and nothing that serves requests."""
    metrics, ids = Metrics(), IdSource()
    async with AsyncExitStack() as stack:
        database = await open_database(settings.database)
        stack.push_async_callback(database.aclose)
        passwords = _hasher(settings, metrics)
        stack.push_async_callback(passwords.aclose)
        yield Accounts(
            SqlUserStore(database),
            ApiKeys(SqlKeyStore(database), ids),
            passwords,
            Bearers(metrics),
            ids,
            settings.admin_registration,
            bootstrapped=lambda: forget_bootstrap_token(settings.data_dir),
        )


async def prepare(settings: Settings) -> str | None:
    """Make what all server processes share, keys and the bootstrap token; return the token if it is a new one.

    Raises StoreUnavailable when the database is not there or not migrated.
    """
    _key_file(settings)
    await _hasher(settings, Metrics()).aclose()
    database = await open_database(settings.database)
    try:
        return await _bootstrap_token(settings, SqlUserStore(database), replace=not database.shared)
    finally:
        await database.aclose()


async def _bootstrap_token(settings: Settings, users: SqlUserStore, *, replace: bool) -> str | None:
    """Keep the bootstrap token as the settings want it; return it if it is a new one."""
    if settings.admin_registration == "bootstrap":
        return await offer_bootstrap_token(users, settings.data_dir, replace=replace)
    forget_bootstrap_token(settings.data_dir)
    return None


def _tell_of(database: Database, metrics: Metrics) -> None:
    """Let the metrics show how much the database has to do."""

    def show(lane: str) -> None:
        metrics.database_work.labels(lane).set_function(lambda: database.under_way()[lane])

    for lane in database.under_way():
        show(lane)


async def _open_stream(settings: Settings, metrics: Metrics) -> Stream:
    return await open_stream(settings.stream_url, metrics, settings.stream_credentials.get_secret_value())


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything that the settings name.

    When opening fails halfway, what was opened is closed again. At the end the recorder commits what is queued,
    then the relay publishes what is committed, then the stream, the cache and the database are let go.
    """
    metrics = Metrics()
    metrics.server_processes.set(1)
    tracer = open_tracer("serve", wanted=settings.tracing)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracer.aclose)
        database = await open_database(settings.database)
        stack.push_async_callback(database.aclose)
        _tell_of(database, metrics)
        users, history, outbox = SqlUserStore(database), SqlHistoryStore(database), SqlOutboxStore(database)
        newest = await history.page(HistoryFilter(), None, 1)
        ids = IdSource(newest[0].id if newest else None)
        cache = await open_cache(settings.cache_url, metrics, arithmetic_version)
        stack.push_async_callback(cache.aclose)
        shared = cache if isinstance(cache, Shared) else None
        stream = await _open_stream(settings, metrics)
        stack.push_async_callback(stream.aclose)
        usage = SqlUsageStore(database)
        consumer = None
        if settings.stream_url.startswith("memory:") and isinstance(stream, Consumable):
            consumer = UsageConsumer(stream, usage, SqlDeadLetterStore(database), metrics, tracer)
            stack.push_async_callback(consumer.aclose)
        relay = Relay(outbox, stream, metrics, shared=database.shared, tracer=tracer) if settings.relay else None
        if relay is not None:
            stack.push_async_callback(relay.aclose)
        tail = HistoryTail(history, metrics, shared=database.shared)
        stack.push_async_callback(tail.aclose)

        def committed() -> None:
            if relay is not None:
                relay.wake()
            tail.wake()

        recorder = Recorder(history, metrics, committed, tracer=tracer)
        stack.push_async_callback(recorder.aclose)
        if settings.history_retention:
            retention = Retention(history, parse_age(settings.history_retention), metrics)
            stack.push_async_callback(retention.aclose)
        computer = Computer(metrics, workers=settings.compute_workers, timeout=settings.compute_timeout, tracer=tracer)
        passwords = _hasher(settings, metrics)
        stack.push_async_callback(passwords.aclose)

        bootstrap_token = await _bootstrap_token(settings, users, replace=not database.shared)
        key_file = _key_file(settings)
        secrets = read_keys(key_file) if key_file else tuple(key.get_secret_value() for key in settings.secret_keys)
        tokens = TokenSigner(secrets, ids, settings.access_token_seconds)
        bearers = Bearers(metrics, shared.hints.publish) if shared else Bearers(metrics)
        keys = ApiKeys(SqlKeyStore(database), ids)
        revocations = await RevocationWatch.open(SqlRevocationStore(database), bearers, metrics)
        stack.push_async_callback(revocations.aclose)
        if shared is not None:
            shared.hints.listen(revocations.hint)
        sessions = Sessions(SqlSessionStore(database), ids)
        authenticator = Authenticator(users, sessions, keys, passwords, tokens, bearers)
        if key_file is not None:
            stack.push_async_callback(KeyFile(key_file, secrets, authenticator.replace_keys, metrics).aclose)
        yield Resources(
            metrics=metrics,
            authenticator=authenticator,
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
                tracer=tracer,
            ),
            computer=computer,
            history=HistoryReader(history, users),
            usage=UsageReader(usage, users),
            feed=Feed(history, tail, metrics),
            exports=Exports(history, users, metrics),
            addresses=ClientAddresses(settings.trusted_proxies),
            refusal_log=RefusalLog(metrics),
            login_limit=login_limit(settings.login_limit, metrics, shared),
            registration_limit=registration_limit(settings.register_limit, metrics, shared),
            calculation_limit=calculation_limit(settings.rate_limit, metrics, shared),
            bootstrap_token=bootstrap_token,
            pings={
                "database": database.ping,
                "cache": cache.ping,
                "stream": stream.ping,
                "recorder": recorder.ping,
                **({"relay": relay.ping} if relay is not None else {}),
                **({"consumer": consumer.ping} if consumer is not None else {}),
            },
            tracer=tracer,
        )


@dataclass(frozen=True, slots=True)
class Background:
    """A part of the service that runs in a process of its own."""

    metrics: Metrics


async def _open_shared(settings: Settings, stack: AsyncExitStack) -> Database:
    """Open a database that a second process may use; raises StoreUnavailable for one that it may not."""
    if settings.database.startswith("sqlite:"):
        raise StoreUnavailable("With SQLite the relay and the consumer run inside `pycalc serve`.")
    database = await open_database(settings.database)
    stack.push_async_callback(database.aclose)
    return database


@asynccontextmanager
async def open_relay(settings: Settings) -> AsyncIterator[Background]:
    """Run a relay; at the end it publishes what is committed and gives its lease back."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        database = await _open_shared(settings, stack)
        stream = await _open_stream(settings, metrics)
        stack.push_async_callback(stream.aclose)
        tracer = open_tracer("relay", wanted=settings.tracing)
        stack.push_async_callback(tracer.aclose)
        relay = Relay(SqlOutboxStore(database), stream, metrics, shared=True, tracer=tracer)
        stack.push_async_callback(relay.aclose)
        yield Background(metrics)


@asynccontextmanager
async def open_consumer(settings: Settings) -> AsyncIterator[Background]:
    """Run a consumer; at the end it finishes its batch and leaves the group."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        if settings.stream_url.startswith("memory:"):
            raise StreamUnavailable("With memory:// the consumer runs inside `pycalc serve`.")
        database = await _open_shared(settings, stack)
        stream = await _open_stream(settings, metrics)
        stack.push_async_callback(stream.aclose)
        if not isinstance(stream, Consumable):
            raise StreamUnavailable("This stream can't be consumed.")
        tracer = open_tracer("consume", wanted=settings.tracing)
        stack.push_async_callback(tracer.aclose)
        consumer = UsageConsumer(stream, SqlUsageStore(database), SqlDeadLetterStore(database), metrics, tracer)
        stack.push_async_callback(consumer.aclose)
        yield Background(metrics)
