"""The relay: outbox -> stream, at least once, in the order of commit (ADR 5).

It reads entries, publishes them and only then deletes them: a crash between the last two publishes them again, with
the same ids. While the stream is down the entries stay where they are.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from structlog import get_logger

from pycalc.db.base import OutboxRow, OutboxStore
from pycalc.errors import StreamUnavailable
from pycalc.models.events import event_of
from pycalc.observability.metrics import Metrics
from pycalc.streaming.base import Stream

_BATCH = 500
_GATHER_SECONDS = 0.02
"""Pause between batches, in which events gather: a busy service pays for tens of batches a second, not thousands."""
_LONGEST_BACKOFF = 30.0

_log = get_logger(__name__)


class Relay:
    """Publishes the outbox; one at a time on an SQLite file."""

    def __init__(self, outbox: OutboxStore, stream: Stream, metrics: Metrics) -> None:
        self._outbox = outbox
        self._stream = stream
        self._metrics = metrics
        self._work = asyncio.Event()
        self._work.set()  # what an earlier process left
        self._closing = asyncio.Event()
        self._failures = 0
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="relay")

    def wake(self) -> None:
        """Say that there are new entries."""
        self._work.set()

    async def ping(self) -> None:
        """Return when events are relayed; raises StreamUnavailable when they are not any more."""
        if self._runner.done():
            raise StreamUnavailable("Events are not being relayed.")

    async def aclose(self) -> None:
        """Publish what is left, if the stream takes it, and stop."""
        self._closing.set()
        self._work.set()
        await self._runner

    async def _run(self) -> None:
        while not self._closing.is_set():
            await self._work.wait()
            self._work.clear()
            try:
                while await self._publish_batch():
                    await self._pause(_GATHER_SECONDS)
                self._failures = 0
            except Exception as error:  # whatever it is, the next try may do better, and the entries are safe
                await self._back_off(error)
            await self._pause(_GATHER_SECONDS)
        with suppress(Exception):
            while await self._publish_batch():
                pass

    async def _publish_batch(self) -> bool:
        """Publish the oldest entries and delete them; return whether there may be more."""
        entries: list[OutboxRow] = await self._outbox.pending(0, _BATCH)
        if not entries:
            self._metrics.outbox_backlog.set(0)
            return False
        more = len(entries) == _BATCH
        if not more:
            self._metrics.outbox_backlog.set(len(entries))
        await self._stream.publish([event_of(entry.row) for entry in entries])
        self._metrics.events_published.inc(len(entries))
        await self._outbox.remove([entry.seq for entry in entries])
        self._metrics.outbox_backlog.set(await self._outbox.backlog() if more else 0)
        return more

    async def _back_off(self, error: Exception) -> None:
        """Wait before the next try: exponentially longer, with full jitter."""
        self._failures += 1
        self._metrics.relay_failures.inc()
        delay = random.uniform(0, min(_LONGEST_BACKOFF, 0.1 * 2**self._failures))  # noqa: S311  # jitter, no secret
        _log.warning("events wait in the outbox", error=str(error), failures=self._failures, retry_in=round(delay, 3))
        with suppress(Exception):  # the count is for the metric only
            self._metrics.outbox_backlog.set(await self._outbox.backlog())
        await self._pause(delay)
        self._work.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
