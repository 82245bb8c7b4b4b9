"""What servers, relay and consumer open alike, and how everything is closed again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Protocol, TypeVar

from pycalc.db import open_database
from pycalc.db.base import Database
from pycalc.db.dead_letters import SqlDeadLetterStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.usage import SqlUsageStore
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import open_tracer
from pycalc.services.events.relay import Relay
from pycalc.services.events.usage import UsageConsumer
from pycalc.settings import Settings
from pycalc.streaming import open_stream
from pycalc.streaming.base import Consumable, Stream


class _Closable(Protocol):
    async def aclose(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closable)


class Opening:
    """What each part of the service is opened with; ``part`` is its name in traces.

    ``stack`` closes the parts in reverse order, also when opening fails halfway.
    """

    def __init__(self, settings: Settings, part: str, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.metrics_seconds)
        self._stack = stack
        self.tracer = self.closing(open_tracer(part, wanted=settings.tracing))

    def closing(self, opened: _Opened) -> _Opened:
        """Return what was opened; it is closed before what was opened earlier."""
        self._stack.push_async_callback(opened.aclose)
        return opened

    async def database(self) -> Database:
        """Open the database; raises StoreUnavailable."""
        return self.closing(await open_database(self.settings.database))

    async def stream(self) -> Stream:
        """Open the stream; raises ValueError."""
        credentials = self.settings.stream_credentials.get_secret_value()
        return self.closing(await open_stream(self.settings.stream_url, self.metrics, credentials))

    def relay(self, database: Database, stream: Stream) -> Relay:
        """Start to publish the database's outbox."""
        outbox = SqlOutboxStore(database)
        return self.closing(Relay(outbox, stream, self.metrics, shared=database.shared, tracer=self.tracer))

    def consumer(self, database: Database, stream: Consumable) -> UsageConsumer:
        """Start to count the stream's events into the database."""
        usage, letters = SqlUsageStore(database), SqlDeadLetterStore(database)
        return self.closing(UsageConsumer(stream, usage, letters, self.metrics, self.tracer))
