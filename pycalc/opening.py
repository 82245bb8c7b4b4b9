"""What the service stands on: the database, the cache and the stream, and how everything is closed again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import NamedTuple, Protocol, TypeVar

from pycalc.cache import open_cache
from pycalc.cache.base import Cache, Shared
from pycalc.db import open_database
from pycalc.db.base import Database, HistoryFilter, HistoryStore, UserStore
from pycalc.db.history import SqlHistoryStore
from pycalc.db.users import SqlUserStore
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.observability.tracing import open_tracer
from pycalc.services.fingerprint import arithmetic_version
from pycalc.settings import Settings
from pycalc.streaming import open_stream
from pycalc.streaming.base import Stream


class _Closable(Protocol):
    async def aclose(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closable)


class Opening:
    """What each part of the service is opened with; ``part`` is its name in traces.

    ``stack`` closes the parts in reverse order, also when opening fails halfway.
    """

    def __init__(self, settings: Settings, part: str, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.metrics = Metrics()
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


class Backends(NamedTuple):
    """What the services of a server are made on."""

    database: Database
    users: UserStore
    history: HistoryStore
    ids: IdSource
    cache: Cache
    shared: Shared | None
    """What the cache offers to several processes, if it does."""
    stream: Stream


async def open_backends(opening: Opening) -> Backends:
    """Open the database, the cache and the stream, in this order; raises StoreUnavailable or ValueError."""
    database = await opening.database()
    _tell_of(database, opening.metrics)
    history = SqlHistoryStore(database)
    newest = await history.page(HistoryFilter(), None, 1)
    ids = IdSource(newest[0].id if newest else None)
    cache = opening.closing(await open_cache(opening.settings.cache_url, opening.metrics, arithmetic_version))
    shared = cache if isinstance(cache, Shared) else None
    return Backends(database, SqlUserStore(database), history, ids, cache, shared, await opening.stream())


def _tell_of(database: Database, metrics: Metrics) -> None:
    """Let the metrics show how much the database has to do."""

    def show(lane: str) -> None:
        metrics.database_work.labels(lane).set_function(lambda: database.under_way()[lane])

    for lane in database.under_way():
        show(lane)
