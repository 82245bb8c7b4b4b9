"""The composition root of a server, which opens the backends and creates the services that use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter

from prometheus_client import Counter

from pycalc.db.audit import SqlAuditStore
from pycalc.db.deleted_accounts import SqlDeletedAccountStore
from pycalc.db.history import SqlHistoryStore, SqlIdempotencyStore
from pycalc.db.instances import SqlInstanceStore
from pycalc.db.outbox import SqlDeadLetterStore
from pycalc.db.quotas import SqlQuotaStore
from pycalc.db.revocations import SqlRevocationStore
from pycalc.db.usage import SqlUsageStore
from pycalc.db.users import SqlUserStore
from pycalc.errors import PycalcError, Unavailable
from pycalc.models.formats import parse_age
from pycalc.models.history import HistoryRow
from pycalc.models.limits import KEY_NAME
from pycalc.models.service import DependencyState, Readiness, ServiceStatus
from pycalc.observability.recent import Recent
from pycalc.observability.requests import current_context
from pycalc.resources.accounts import AccountServices, bootstrap_token
from pycalc.resources.backends import Backends, open_backends
from pycalc.resources.resource_stack import ResourceStack
from pycalc.services.accounts.accounts import AccountList
from pycalc.services.accounts.audit_log import AuditLog, AuditReader, RefusalLog
from pycalc.services.accounts.authorization import LimitPolicy
from pycalc.services.accounts.passwords import MAX_HASHES
from pycalc.services.calculations.batch import BatchCalculator
from pycalc.services.calculations.calculator import Calculator
from pycalc.services.calculations.idempotency import IdempotencyKeys
from pycalc.services.calculations.result_finder import ResultFinder
from pycalc.services.calculations.single_flight import Coordination
from pycalc.services.compute.computer import Computer
from pycalc.services.events.dead_letters import DeadLetters
from pycalc.services.events.event_feed import EventFeed
from pycalc.services.events.history_poller import HistoryPoller
from pycalc.services.events.usage import UsageReader
from pycalc.services.history.exports import Exports
from pycalc.services.history.file_monitor import FileMonitor
from pycalc.services.history.reader import HistoryReader
from pycalc.services.history.recorder import Recorder
from pycalc.services.history.retention import Retention
from pycalc.services.instances import InstanceList
from pycalc.services.limits.calculation_rate import calculation_limits
from pycalc.services.limits.client_address import ClientAddresses
from pycalc.services.limits.concurrency import ConcurrencyLimit, ReadingSpeed, response_memory
from pycalc.services.limits.fair_database import FairDatabase
from pycalc.services.limits.quota_keeper import QuotaKeeper
from pycalc.services.limits.quotas import compute_quota, digits_quota
from pycalc.services.limits.rate_limits import AddressRateLimit, FailedLogins
from pycalc.settings import Settings
from pycalc.urls import file_of

Pings = dict[str, Callable[[], Awaitable[None]]]  # by dependency; a ping raises a PycalcError

_OPTIONAL = {"cache", "clock", "stream", "relay", "consumer"}  # the service is ready without these


class Recording:
    """The recorder, which is closed first, and the services that process recorded calculations."""

    def __init__(self, stack: ResourceStack, backends: Backends) -> None:
        settings, metrics, history = stack.settings, stack.metrics, backends.history
        database, stream = backends.database, backends.stream
        # With a shared database and a broker, `pycalc consume` runs the consumer.
        only_consumer = not database.shared or settings.stream_url.startswith("memory:")
        consumer = stack.consumer(database, stream) if only_consumer else None
        relay = stack.relay(database, stream) if settings.relay else None
        self.wake_relay: Callable[[], None] = relay.wake if relay else lambda: None
        self.limits = LimitPolicy(settings.user_limits, settings.role_quotas)
        self.poller = stack.closing(HistoryPoller(history, metrics, shared=database.shared))

        async def quota_of(user_id: bytes) -> int | None:
            user = await backends.users.by_id(user_id)
            return None if user is None else self.limits.of(user).history  # a deleted account may have had a higher one

        self.retention = stack.closing(
            Retention(
                history,
                SqlUsageStore(database),
                SqlIdempotencyStore(database),
                SqlDeletedAccountStore(database),
                metrics,
                age=parse_age(settings.history_retention) if settings.history_retention else None,
                quota=settings.history_quota,
                quota_of=quota_of,
                audit=SqlAuditStore(database),
                audit_age=parse_age(settings.audit_retention) if settings.audit_retention else None,
            )
        )

        def committed(rows: Sequence[HistoryRow]) -> None:
            self.wake_relay()
            self.poller.wake()
            self.retention.recorded(rows)

        file = None
        if not database.shared:
            file = stack.closing(FileMonitor(file_of(settings.database), settings.min_free_disk, metrics))
        self.recorder = stack.closing(Recorder(history, metrics, committed, file=file, tracer=stack.tracer))
        parts = {"recorder": self.recorder, "relay": relay, "consumer": consumer}
        self.pings: Pings = {name: part.ping for name, part in parts.items() if part is not None}


class Resources(AccountServices):
    """The services and limits that the routers use, and the health of their dependencies."""

    def __init__(self, stack: ResourceStack, backends: Backends, recording: Recording, last_revocation: int) -> None:
        settings, metrics, tracer = stack.settings, stack.metrics, stack.tracer
        self.addresses = addresses = ClientAddresses(settings.trusted_proxies)
        # Shared by all users, as are the services of ``recording``.
        audit = stack.closing(AuditLog(SqlAuditStore(backends.database), backends.ids, metrics, addresses.current))

        def client() -> Hashable:
            context = current_context()
            return addresses.current() if context is None or context.caller is None else context.caller.user_id

        # One client, a user or before authentication an address, must not keep the database busy.
        fair = FairDatabase(backends.database, client, metrics.requests_refused.labels("database"))
        backends = backends._replace(database=fair, users=SqlUserStore(fair), history=SqlHistoryStore(fair))
        super().__init__(stack, backends, audit, recording.limits, recording.retention, last_revocation)
        database, users, history, ids, cache, shared, stream, unshared = backends
        recorder = recording.recorder
        workers, timeout, memory = settings.compute_workers, settings.compute_timeout, settings.compute_memory
        seconds, digits = compute_quota(metrics), digits_quota(metrics)

        def slots(total: int, refused: Counter, what: str, each: int | None = None) -> ConcurrencyLimit:
            return ConcurrencyLimit(total, refused, f"Too many {what}; retry in 1 s.", each=each, seconds=1)

        async def require_clock() -> None:
            ahead = ids.ahead_seconds()
            if ahead:  # some host's clock is or was wrong
                raise Unavailable(
                    f"The newest calculations are dated {ahead:.0f} s ahead of this host's clock: "
                    "compare the clocks of all hosts, and repair their synchronization (NTP)."
                )

        self.metrics = metrics
        self.tracer = tracer
        self.bootstrap_token: str | None = None  # if it is new and must be shown on the console
        self.mcp_inline_digits = settings.mcp_inline_digits
        self.passwords_allowed = settings.password_login
        self.computer = Computer(
            metrics, workers=workers, timeout=timeout, worker_memory=memory, tracer=tracer, quota=seconds
        )
        self.quotas = stack.closing(QuotaKeeper(SqlQuotaStore(database), (seconds, digits)))
        coordination = Coordination(shared, metrics, timeout)
        results = ResultFinder(cache, self.computer, coordination, metrics, tracer)
        self.calculator = Calculator(
            results, self.computer, recorder, ids, metrics, max_digits=settings.max_digits, tracer=tracer, quota=digits
        )
        self.response_memory = response_memory(metrics, settings.response_memory)
        scheduler = self.computer.scheduler
        self.batches = BatchCalculator(self.calculator, scheduler, self.response_memory, metrics, seconds=timeout)
        self.idempotency = IdempotencyKeys(SqlIdempotencyStore(database), history, metrics)
        # By user, while a long body is read, because a client may send it slowly.
        self.long_bodies = slots(128, metrics.requests_refused.labels("batches"), "long bodies are being received", 16)
        # By address, for refresh tokens and API keys that are not cached.
        self.lookups = slots(64, metrics.lookups_refused.labels("address"), "credentials are being looked up")
        # By address, for sign-ins that wait for the identity provider.
        self.sign_ins = slots(64, metrics.lookups_refused.labels("provider"), "sign-ins are in progress")
        # By address, for requests that hash passwords.
        self.password_slots = slots(MAX_HASHES, metrics.hashes_refused, "passwords are being hashed")
        self.reading_speed = ReadingSpeed(settings.response_seconds, settings.response_rate)
        self.history = HistoryReader(history, users)
        self.usage = UsageReader(SqlUsageStore(database), users, self.quotas)
        self.feed = EventFeed(history, recording.poller, metrics, settings.event_streams)
        self.exports = Exports(SqlHistoryStore(unshared), users, metrics, digits)
        self.refusal_log = RefusalLog(metrics, audit)
        self.audit = AuditReader(SqlAuditStore(database))
        self.account_list = AccountList(SqlUserStore(database))
        self.dead_letters = DeadLetters(SqlDeadLetterStore(database), audit, recording.wake_relay)
        self.instances = InstanceList(SqlInstanceStore(database))
        self.login_limit = FailedLogins(settings.login_limit, metrics, shared)
        self.registration_limit = AddressRateLimit(
            "register", "registrations", settings.register_limit, metrics, shared
        )
        # Each process counts requests for pages separately.
        self.page_limit = AddressRateLimit("pages", "requests for pages", settings.page_limit, metrics)
        self.calculation_limit_of = calculation_limits(metrics, shared)
        # The limits of API keys apply in addition to those of their owners.
        self.key_limit_of = calculation_limits(metrics, shared, prefix=KEY_NAME)
        own_pings = {"database": database.ping, "cache": cache.ping, "stream": stream.ping, "clock": require_clock}
        self.pings: Pings = own_pings | recording.pings
        self.health = Recent(self._check_all, 1.0)  # of every dependency, at most 1 s old

    async def _check_all(self) -> Readiness:
        async def state_of(ping: Callable[[], Awaitable[None]]) -> DependencyState:
            started = perf_counter()
            state: DependencyState = {"ok": True, "latency_ms": 0.0}
            try:
                await asyncio.wait_for(ping(), 2.0)
            except PycalcError as error:
                state.update({"ok": False, "detail": error.detail})
            except TimeoutError:
                state.update({"ok": False, "detail": "There was no answer in 2 seconds."})
            state["latency_ms"] = round((perf_counter() - started) * 1000, 3)
            return state

        states = await asyncio.gather(*map(state_of, self.pings.values()))
        checks = dict(zip(self.pings, states, strict=True))
        failed = {name for name, state in checks.items() if not state["ok"]}
        status: ServiceStatus = "unavailable" if failed - _OPTIONAL else "degraded" if failed else "ok"
        return {"status": status, "checks": checks}


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Return a context with all resources that the settings name.

    They are closed in reverse order, even if opening fails. At the end, the recorder commits its queue. Then the relay
    publishes committed events for at most 1.5 s. Last, the stream, the cache and the database are closed. Raises
    StoreUnavailable, ValueError for a setting that can't be used, and OSError for a file that can't be used.
    """
    settings.require_keys()
    async with AsyncExitStack() as exit_stack:
        stack = ResourceStack(settings, "serve", exit_stack)
        stack.metrics.server_processes.set(1)
        backends = await open_backends(stack)
        recording = Recording(stack, backends)
        await recording.recorder.probe()
        last_revocation = await SqlRevocationStore(backends.database).newest()  # before any token is cached
        resources = Resources(stack, backends, recording, last_revocation)
        resources.bootstrap_token = await bootstrap_token(settings, backends.users, backends.database)
        stack.heartbeat(backends.database, settings.compute_workers)
        yield resources
