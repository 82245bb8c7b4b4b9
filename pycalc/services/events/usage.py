"""Usage totals: the consumer counts each event of the stream once, and users read their totals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import inf
from time import time, time_ns

from structlog import get_logger

from pycalc.backoff import backoff_after, wait_until_set
from pycalc.db.base import DeadLetter, DeadLetterStore, UsageFilter, UsageStore, UserStore
from pycalc.errors import PycalcError, StoreUnavailable, StreamUnavailable
from pycalc.models.auth import Principal
from pycalc.models.ids import now_ms, unix_ms_of_id
from pycalc.models.usage import Use, day_of, encode_report, use_of
from pycalc.observability.metrics import EventMetrics
from pycalc.observability.tracing import NO_TRACER, Tracer, record_each
from pycalc.services.accounts.authorization import visible_user_ids
from pycalc.services.limits.quota_keeper import QuotaKeeper
from pycalc.streaming.base import USAGE_GROUP, Consumable, Delivery, MessageBatch

_LONGEST_BACKOFF = 10.0
# Failures that are older than this are forgotten. Without events, no success would follow them. The consumer retries
# sooner than this, so lasting errors are newer.
_RECOVERY_SECONDS = 40.0
_FINISH_SECONDS = 2.0  # for the current batch when closing, and again for leaving the group
_PAYLOAD_BYTES = 8 * 1024
MAX_DEAD_LETTERS = 100_000  # further invalid messages are dropped, so that a flood does not fill the disk
MAX_ITEMS = 10_000

_log = get_logger(__name__)


@dataclass(eq=False)
class UsageConsumer:
    """A consumer that counts a batch of events in the database, and then commits the batch to the stream.

    After a crash in between, the stream delivers the batch again, but no event counts twice (ADR 17).
    """

    stream: Consumable
    usage: UsageStore
    dead_letters: DeadLetterStore
    metrics: EventMetrics
    tracer: Tracer = NO_TRACER

    def __post_init__(self) -> None:
        """Start the task."""
        self._closing = asyncio.Event()
        self._receiving: asyncio.Future[MessageBatch] | None = None
        self._failures = 0
        self._failing_until = -inf
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run(), name="usage consumer")

    async def ping(self) -> None:
        """Raise StreamUnavailable if the task has ended, or has failed twice in a row and within the last 40 s."""
        if self._runner.done() or (self._failures > 1 and self._loop.time() < self._failing_until):
            raise StreamUnavailable("Events are not being consumed.")

    async def aclose(self) -> None:
        """Finish the current batch or cancel it after 2 s, and leave the consumer group, which may take 2 s more."""
        self._closing.set()
        if self._receiving is not None:
            self._receiving.cancel()  # which ends the task, unless it is processing a batch
        _, late = await asyncio.wait({self._runner}, timeout=_FINISH_SECONDS)
        if late:
            self._runner.cancel()
            await asyncio.wait(late, timeout=_FINISH_SECONDS)

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                async with self.stream.consume(USAGE_GROUP) as member:
                    while not self._closing.is_set():
                        self._receiving = asyncio.ensure_future(member.receive())
                        batch = await self._receiving
                        if batch.deliveries and await self._process_until_done(batch.deliveries):
                            await member.commit(batch)
                            self._failures = 0
            except Exception as error:  # after any error, uncommitted events are redelivered
                await self._back_off(error)

    async def _process_until_done(self, deliveries: Sequence[Delivery]) -> bool:
        """Process a batch. Retry while the database is unavailable; return False if ``aclose`` is called meanwhile."""
        # A batch returned to the broker at each failure would become dead letters there.
        while not self._closing.is_set():
            try:
                await self._process(deliveries)
            except StoreUnavailable as error:
                await self._back_off(error)
            else:
                return True
        return False

    async def _process(self, deliveries: Sequence[Delivery]) -> None:
        """Count the valid events of this service. Store other messages as dead letters, up to MAX_DEAD_LETTERS."""
        began_ns = time_ns()
        uses: list[Use] = []
        dead_letters: list[DeadLetter] = []
        for delivery in deliveries:
            try:
                if delivery.event is None:
                    raise ValueError("not an event of this service")
                uses.append(use_of(delivery.event))
            except ValueError as error:
                event = delivery.event
                event_id, payload = (None, delivery.raw) if event is None else (event.id, event.payload)
                content, reason = payload[:_PAYLOAD_BYTES], str(error)
                letter = DeadLetter(0, "consumer", event_id, delivery.origin, reason, content, now_ms())
                dead_letters.append(letter)
        counted = await self.usage.count(uses) if uses else 0
        self.metrics.events_consumed.inc(counted)
        self.metrics.events_repeated.inc(len(uses) - counted)
        if counted:  # a batch of repetitions alone may be as old as the stream, and would distort the lag
            oldest = min(use.event_id for use in uses)
            self.metrics.consumer_lag.observe(max(0.0, time() - unix_ms_of_id(oldest) / 1000))
        traceparents = (delivery.event and delivery.event.traceparent for delivery in deliveries)
        record_each(self.tracer, "count", traceparents, began_ns, {"messaging.operation.type": "process"})
        if dead_letters:
            count, first = len(dead_letters), dead_letters[0]
            if await self.dead_letters.size() < MAX_DEAD_LETTERS:
                await self.dead_letters.put(dead_letters)
                self.metrics.dead_letters.labels("consumer").inc(count)
                _log.warning("messages dead-lettered", count=count, origin=first.origin, reason=first.reason)
            else:
                self.metrics.messages_dropped.inc(count)
                message = "messages dropped, because there are too many dead letters"
                _log.error(message, count=count, origin=first.origin, reason=first.reason, most=MAX_DEAD_LETTERS)

    async def _back_off(self, error: Exception) -> None:
        """Wait before the next try, with exponential backoff and full jitter."""
        now = self._loop.time()
        self._failures = self._failures + 1 if now < self._failing_until else 1
        self._failing_until = now + _RECOVERY_SECONDS
        self.metrics.consumer_failures.inc()
        delay = backoff_after(error, self._failures, _LONGEST_BACKOFF)
        trace = None if isinstance(error, PycalcError) else error
        _log.warning("events were not consumed", error=str(error), retry_in=round(delay, 3), exc_info=trace)
        await wait_until_set(self._closing, delay)


class UsageReader:
    """A reader of usage totals and of the state of the caller's quotas. An admin may read all users' totals."""

    def __init__(self, usage: UsageStore, users: UserStore, quotas: QuotaKeeper) -> None:
        self._usage = usage
        self._users = users
        self._quotas = quotas

    async def report(
        self, caller: Principal, *, since: date | None = None, until: date | None = None, user: str | None = None
    ) -> str:
        """Return a UsageReport as JSON for ``since`` <= day < ``until``, with the state of the caller's quotas.

        It has at most MAX_ITEMS totals, those of the newest days. Raises the errors of ``visible_user_ids``.
        """
        selection = UsageFilter(
            user_ids=await visible_user_ids(self._users, caller, user),
            since=None if since is None else day_of(since),
            until=None if until is None else day_of(until),
        )
        totals = await self._usage.totals(selection, MAX_ITEMS)
        return encode_report(totals, await self._quotas.states(caller))
