"""Usage totals: made by the consumer from the stream, each event counted once, and read by those they are about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from time import time, time_ns

from structlog import get_logger

from pycalc.backoff import backoff_after
from pycalc.db.base import DeadLetter, DeadLetterStore, UsageFilter, UsageStore, UserStore
from pycalc.errors import PycalcError, StoreUnavailable, StreamUnavailable
from pycalc.models.auth import Principal
from pycalc.models.ids import unix_ms_of_id
from pycalc.models.usage import Use, day_of, encode_report, use_of
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.services.accounts.authorization import whose
from pycalc.streaming.base import USAGE_GROUP, Batch, Consumable, Delivery, Member

_LONGEST_BACKOFF = 10.0
_FINISH_SECONDS = 2.0
"""How long the batch in hand may take in the end, and leaving the group after it: what is not committed comes again."""
_LETTER_BYTES = 8 * 1024
MAX_LETTERS = 100_000
"""Dead letters beyond which foreign messages are only counted: whoever floods the topic must not fill the disk."""
MAX_ITEMS = 10_000

_log = get_logger(__name__)


class UsageConsumer:
    """One of the group that builds the totals; commits to the stream only after its own commit (ADR 17)."""

    def __init__(
        self,
        stream: Consumable,
        usage: UsageStore,
        letters: DeadLetterStore,
        metrics: Metrics,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._stream = stream
        self._tracer = tracer
        self._usage = usage
        self._letters = letters
        self._metrics = metrics
        self._closing = asyncio.Event()
        self._failures = 0
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="usage consumer")

    async def ping(self) -> None:
        """Return when events are consumed; raises StreamUnavailable when they are not at the moment."""
        if self._runner.done() or self._failures > 1:
            raise StreamUnavailable("Events are not being consumed.")

    async def aclose(self) -> None:
        """Finish the batch in hand, unless that takes long or the database is away, and leave the group."""
        self._closing.set()
        _, late = await asyncio.wait({self._runner}, timeout=_FINISH_SECONDS)
        if late:
            self._runner.cancel()
            await asyncio.wait(late, timeout=_FINISH_SECONDS)

    async def _run(self) -> None:
        while not self._closing.is_set():
            try:
                async with self._stream.consume(USAGE_GROUP) as member:
                    while not self._closing.is_set():
                        await self._step(member)
            except Exception as error:  # whatever it is: what is not committed comes again
                await self._back_off(error)

    async def _step(self, member: Member) -> None:
        batch = await self._received(member)
        if batch is None or not batch.deliveries:
            return
        if await self._dealt_with(batch.deliveries):
            await member.commit(batch)
            self._failures = 0

    async def _received(self, member: Member) -> Batch | None:
        """Return the next batch; None when the end comes first."""
        receiving = asyncio.ensure_future(member.receive())
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({receiving, closing}, return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else None
        finally:
            for task in (receiving, closing):
                task.cancel()
            await asyncio.wait({receiving, closing})

    async def _dealt_with(self, deliveries: Sequence[Delivery]) -> bool:
        """Deal with a batch as soon as the database is there; return False when the end comes before.

        It stays in hand meanwhile: given back again and again, a broker would take its events for poison.
        """
        while not self._closing.is_set():
            try:
                await self._deal_with(deliveries)
            except StoreUnavailable as error:
                await self._back_off(error)
            else:
                return True
        return False

    async def _deal_with(self, deliveries: Sequence[Delivery]) -> None:
        """Count the events; put what is none aside."""
        began_ns = time_ns()
        uses: list[Use] = []
        letters: list[DeadLetter] = []
        for delivery in deliveries:
            try:
                uses.append(_use(delivery))
            except ValueError as error:
                letters.append(_letter(delivery, str(error)))
        await self._count(uses)
        if self._tracer.on:
            self._trace(deliveries, began_ns)
        if letters:
            await self._put_aside(letters)

    def _trace(self, deliveries: Sequence[Delivery], began_ns: int) -> None:
        """Note the counting in the traces of the events."""
        ended_ns = time_ns()
        traceparents = (delivery.event and delivery.event.traceparent for delivery in deliveries)
        for traceparent in dict.fromkeys(filter(None, traceparents)):
            self._tracer.record("count", began_ns, ended_ns, traceparent, **{"messaging.operation.type": "process"})

    async def _count(self, uses: Sequence[Use]) -> None:
        if not uses:
            return
        counted = await self._usage.count(uses)
        self._metrics.events_consumed.inc(counted)
        self._metrics.events_repeated.inc(len(uses) - counted)
        if counted:  # a batch that was counted before, all of it, may be as old as the stream
            oldest = min(use.event_id for use in uses)
            self._metrics.consumer_lag.observe(max(0.0, time() - unix_ms_of_id(oldest) / 1000))

    async def _put_aside(self, letters: Sequence[DeadLetter]) -> None:
        if await self._letters.size() < MAX_LETTERS:
            await self._letters.put(letters)
        self._metrics.dead_letters.labels("consumer").inc(len(letters))
        _log.warning("messages put aside", count=len(letters), origin=letters[0].origin, reason=letters[0].reason)

    async def _back_off(self, error: Exception) -> None:
        """Wait before the next try: exponentially longer, with full jitter."""
        self._failures += 1
        self._metrics.consumer_failures.inc()
        delay = backoff_after(error, self._failures, _LONGEST_BACKOFF)
        trace = None if isinstance(error, PycalcError) else error
        _log.warning("events wait to be consumed", error=str(error), retry_in=round(delay, 3), exc_info=trace)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), delay)


def _use(delivery: Delivery) -> Use:
    """Return what a message adds to the totals; raises ValueError for one that is no event of ours."""
    if delivery.event is None:
        raise ValueError("not an event of this service")
    return use_of(delivery.event)


def _letter(delivery: Delivery, reason: str) -> DeadLetter:
    event = delivery.event
    payload = delivery.raw if event is None else event.payload
    event_id = None if event is None else event.id
    return DeadLetter(0, "consumer", event_id, delivery.origin, reason, payload[:_LETTER_BYTES], time_ns() // 1_000_000)


class UsageReader:
    """Reads the totals: one's own, or everyone's for an admin."""

    def __init__(self, usage: UsageStore, users: UserStore) -> None:
        self._usage = usage
        self._users = users

    async def report(
        self, caller: Principal, *, since: date | None = None, until: date | None = None, user: str | None = None
    ) -> str:
        """Return a UsageReport as JSON, ``since`` <= day < ``until``; raises Forbidden for another's totals."""
        selection = UsageFilter(
            user_ids=await whose(self._users, caller, user),
            since=None if since is None else day_of(since),
            until=None if until is None else day_of(until),
        )
        return encode_report(await self._usage.totals(selection, MAX_ITEMS))
