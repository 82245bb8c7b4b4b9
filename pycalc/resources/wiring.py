"""The composition root: opens every backend in order, wires the services, and closes all in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import NamedTuple

from pycalc.db.usage import SqlUsageStore
from pycalc.errors import PycalcError, Unavailable
from pycalc.models.ids import IdSource
from pycalc.models.times import parse_age
from pycalc.observability.metrics import Metrics
from pycalc.observability.recent import Recent
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.resources.accounts import Access, open_access
from pycalc.resources.backends import Backends, open_backends
from pycalc.resources.resource_stack import Opening
from pycalc.services.accounts.accounts import Accounts
from pycalc.services.accounts.audit_log import RefusalLog
from pycalc.services.accounts.authenticator import Authenticator
from pycalc.services.accounts.passwords import MAX_HASHES
from pycalc.services.calculations.batch import BatchCalculator
from pycalc.services.calculations.calculator import Calculator
from pycalc.services.calculations.result_finder import ResultFinder
from pycalc.services.calculations.single_flight import LeaseCoordination
from pycalc.services.compute.computer import Computer
from pycalc.services.events.event_feed import Feed
from pycalc.services.events.history_poller import HistoryTail
from pycalc.services.events.relay import Relay
from pycalc.services.events.usage import UsageConsumer, UsageReader
from pycalc.services.history.exports import Exports
from pycalc.services.history.reader import HistoryReader
from pycalc.services.history.recorder import Recorder
from pycalc.services.history.retention import Retention
from pycalc.services.limits.client_address import ClientAddresses
from pycalc.services.limits.concurrency import ConcurrencyLimit
from pycalc.services.limits.rate_limits import (
    Calculations,
    LoginLimit,
    RegistrationLimit,
    calculation_limit,
    login_limit,
    registration_limit,
)
from pycalc.services.limits.responses import Pace, response_memory
from pycalc.settings import Settings
from pycalc.streaming.base import Consumable

_PING_SECONDS = 2.0
_DISPENSABLE = {"cache", "clock", "stream", "relay", "consumer"}
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
    batches: BatchCalculator
    computer: Computer
    response_memory: ConcurrencyLimit
    batch_bodies: ConcurrencyLimit
    """For the bodies of batches while they are read, which a client may send slowly."""
    lookups: ConcurrencyLimit
    """For API keys that are not known yet and for refresh tokens, by address."""
    pace: Pace
    history: HistoryReader
    usage: UsageReader
    exports: Exports
    feed: Feed
    addresses: ClientAddresses
    refusal_log: RefusalLog
    password_slots: ConcurrencyLimit
    """For requests that hash passwords, by address."""
    login_limit: LoginLimit
    registration_limit: RegistrationLimit
    calculation_limit: Calculations | None
    """None where there is no limit: the hot path asks no more than that."""
    bootstrap_token: str | None
    """The new bootstrap token, for the console."""
    etag_key: bytes
    """What the validators of results are made with."""
    pings: dict[str, Callable[[], Awaitable[None]]]
    tracer: Tracer = NO_TRACER
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service is to end: open streams finish themselves."""

    ready_seconds: float = 1.0
    """How old the answer of ``check`` may be."""
    _checked: Recent[list[Health]] = field(init=False)

    def __post_init__(self) -> None:
        self._checked = Recent(self._ping_all, self.ready_seconds)

    async def check(self) -> list[Health]:
        """Return the state of every dependency, as it was a moment ago; however many ask, each is pinged once."""
        return await self._checked.get()

    async def _ping_all(self) -> list[Health]:
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
    then the relay publishes what is committed, then the stream, the cache and the database are let go. Raises
    StoreUnavailable, and ValueError for a setting that can't be used.
    """
    settings.require_keys()
    async with AsyncExitStack() as stack:
        opening = Opening(settings, "serve", stack)
        opening.metrics.server_processes.set(1)
        backends = await open_backends(opening)
        recording = _start_recording(opening, backends)
        await recording.recorder.probe()
        yield _wired(opening, backends, recording, await open_access(opening, backends))


class _Recording(NamedTuple):
    """What takes a calculation from its commit to those who wait for its event."""

    recorder: Recorder
    tail: HistoryTail
    pings: dict[str, Callable[[], Awaitable[None]]]


def _start_recording(opening: Opening, backends: Backends) -> _Recording:
    """Start from the end: what is committed is published, and what is published is counted."""
    settings, metrics, history = opening.settings, opening.metrics, backends.history
    consumer = _consumer(opening, backends)
    relay = _relay(opening, backends)
    tail = opening.closing(HistoryTail(history, metrics, shared=backends.database.shared))

    def committed() -> None:
        if relay is not None:
            relay.wake()
        tail.wake()

    recorder = opening.closing(Recorder(history, metrics, committed, tracer=opening.tracer))
    if settings.history_retention:
        opening.closing(Retention(history, parse_age(settings.history_retention), metrics))
    parts = {"recorder": recorder, "relay": relay, "consumer": consumer}
    return _Recording(recorder, tail, {name: part.ping for name, part in parts.items() if part is not None})


def _consumer(opening: Opening, backends: Backends) -> UsageConsumer | None:
    """Start the usage consumer where no other process can be it; return None where `pycalc consume` is."""
    stream = backends.stream
    alone = not backends.database.shared or opening.settings.stream_url.startswith("memory:")
    return opening.consumer(backends.database, stream) if alone and isinstance(stream, Consumable) else None


def _relay(opening: Opening, backends: Backends) -> Relay | None:
    """Return the relay, None where publishing is left to others."""
    return opening.relay(backends.database, backends.stream) if opening.settings.relay else None


def _result_finder(opening: Opening, backends: Backends, computer: Computer) -> ResultFinder:
    """Return the finder of results; instances that share a cache compute an expensive result once."""
    settings, metrics, shared = opening.settings, opening.metrics, backends.shared
    coordination = LeaseCoordination(shared.leases, metrics, settings.compute_timeout) if shared else None
    return ResultFinder(backends.cache, computer, metrics, coordination=coordination, tracer=opening.tracer)


async def _require_near(ids: IdSource) -> None:
    """Raise Unavailable while the newest ids are ahead of the clock."""
    seconds = ids.ahead_seconds()
    if seconds:
        raise Unavailable(f"The newest calculations are dated {seconds:.0f} s ahead of the clock: a clock was wrong.")


def _wired(opening: Opening, backends: Backends, recording: _Recording, access: Access) -> Resources:
    """Return the services, each with what it stands on."""
    settings, metrics, tracer = opening.settings, opening.metrics, opening.tracer
    database, users, history, _, cache, shared, stream = backends
    computer = Computer(
        metrics,
        workers=settings.compute_workers,
        timeout=settings.compute_timeout,
        memory=settings.compute_memory,
        tracer=tracer,
    )
    memory = response_memory(metrics, settings.response_memory)
    results = _result_finder(opening, backends, computer)
    calculator = Calculator(
        results,
        computer,
        recording.recorder,
        backends.ids,
        metrics,
        max_digits=settings.max_digits,
        tracer=tracer,
    )
    return Resources(
        metrics=metrics,
        authenticator=access.authenticator,
        accounts=access.accounts,
        calculator=calculator,
        batches=BatchCalculator(
            calculator, results, computer.scheduler, memory, metrics, seconds=settings.compute_timeout
        ),
        computer=computer,
        response_memory=memory,
        batch_bodies=ConcurrencyLimit(
            128, metrics.requests_refused.labels("batches"), "Too many batches are being sent.", each=16, seconds=1
        ),
        lookups=ConcurrencyLimit(
            64, metrics.lookups_refused.labels("address"), "Too many credentials are being looked up.", seconds=1
        ),
        pace=Pace(settings.response_seconds, settings.response_rate),
        history=HistoryReader(history, users),
        usage=UsageReader(SqlUsageStore(database), users),
        feed=Feed(history, recording.tail, metrics),
        exports=Exports(history, users, metrics),
        addresses=ClientAddresses(settings.trusted_proxies),
        refusal_log=RefusalLog(metrics),
        password_slots=ConcurrencyLimit(MAX_HASHES, metrics.hashes_refused, "Too many logins at once.", seconds=1),
        login_limit=login_limit(settings.login_limit, metrics, shared),
        registration_limit=registration_limit(settings.register_limit, metrics, shared),
        calculation_limit=calculation_limit(settings.rate_limit, metrics, shared),
        bootstrap_token=access.bootstrap_token,
        etag_key=access.etag_key,
        pings={
            "database": database.ping,
            "cache": cache.ping,
            "stream": stream.ping,
            "clock": partial(_require_near, backends.ids),
            **recording.pings,
        },
        tracer=tracer,
    )
