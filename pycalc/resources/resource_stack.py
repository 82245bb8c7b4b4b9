"""The resources that servers, relays and consumers have in common, closed in reverse order."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol, TypeVar

from pycalc.db import open_database
from pycalc.db.base import Database
from pycalc.db.instances import SqlInstanceStore
from pycalc.db.outbox import SqlDeadLetterStore, SqlOutboxStore
from pycalc.db.usage import SqlUsageStore
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import open_tracer
from pycalc.services.events.relay import Relay
from pycalc.services.events.usage import UsageConsumer
from pycalc.services.instances import Heartbeat, figures_of
from pycalc.settings import Settings
from pycalc.streaming import open_stream
from pycalc.streaming.base import Consumable, Publisher, Stream


class _Closable(Protocol):
    async def aclose(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closable)


class ResourceStack:
    """A builder of a process's resources. ``exit_stack`` closes them in reverse order, even after a failed start."""

    def __init__(self, settings: Settings, service_name: str, exit_stack: AsyncExitStack) -> None:
        """Create the metrics and the tracer. Traces name the process by its command, ``service_name``.

        Raises ValueError if tracing is set but its packages are not installed.
        """
        self.settings = settings
        self._command = service_name
        self.metrics = Metrics(settings.metrics_seconds)
        self._exit_stack = exit_stack
        self.tracer = self.closing(open_tracer(service_name, wanted=settings.tracing))

    def closing(self, opened: _Opened) -> _Opened:
        """Register a resource for closing, and return it. The resource that is registered last is closed first."""
        self._exit_stack.push_async_callback(opened.aclose)
        return opened

    async def database(self) -> Database:
        """Open the database; raises StoreUnavailable, and ValueError for an invalid URL."""
        return self.closing(await open_database(self.settings.database))

    async def stream(self) -> Stream:
        """Open the stream; raises ValueError for an invalid URL."""
        credentials = self.settings.stream_credentials.get_secret_value()
        return self.closing(await open_stream(self.settings.stream_url, self.metrics, credentials))

    def heartbeat(self, database: Database, compute_workers: int = 0) -> None:
        """Start a task that reports the state of this process to the database."""
        figures = partial(figures_of, self.metrics, compute_workers)
        self.closing(Heartbeat(SqlInstanceStore(database), self._command, figures))

    def relay(self, database: Database, stream: Publisher) -> Relay:
        """Start a relay, which publishes the database's outbox to the stream."""
        outbox = SqlOutboxStore(database)
        return self.closing(Relay(outbox, stream, self.metrics, shared=database.shared, tracer=self.tracer))

    def consumer(self, database: Database, stream: Consumable) -> UsageConsumer:
        """Start a consumer, which adds the stream's events to the usage totals in the database."""
        usage, dead_letters = SqlUsageStore(database), SqlDeadLetterStore(database)
        return self.closing(UsageConsumer(stream, usage, dead_letters, self.metrics, self.tracer))
