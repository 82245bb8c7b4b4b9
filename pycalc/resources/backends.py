"""What a server stands on: the database, the cache and the stream, opened in this order."""

from __future__ import annotations

from typing import NamedTuple

from structlog import get_logger

from pycalc.cache import open_cache
from pycalc.cache.base import Cache, Shared
from pycalc.db.base import Database, HistoryFilter, HistoryStore, UserStore
from pycalc.db.history import SqlHistoryStore
from pycalc.db.users import SqlUserStore
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.resources.resource_stack import Opening
from pycalc.services.calculations.fingerprint import arithmetic_version
from pycalc.streaming.base import Stream

_log = get_logger(__name__)


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
    ids = IdSource(newest[0].id if newest else None, _report_ahead)
    opening.metrics.ids_ahead.set_function(ids.ahead_seconds)
    cache = opening.closing(await open_cache(opening.settings.cache_url, opening.metrics, arithmetic_version))
    shared = cache if isinstance(cache, Shared) else None
    return Backends(database, SqlUserStore(database), history, ids, cache, shared, await opening.stream())


def _report_ahead(seconds: float) -> None:
    _log.error("ids are ahead of the clock: this host's clock, or another's, is or was wrong", seconds=round(seconds))


def _tell_of(database: Database, metrics: Metrics) -> None:
    """Let the metrics show how much the database has to do."""

    def show(queue: str) -> None:
        metrics.database_work.labels(queue).set_function(lambda: database.under_way()[queue])

    for queue in database.under_way():
        show(queue)
