"""The backends that a server opens: the database, the cache and the stream."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from structlog import get_logger

from pycalc.cache import open_cache
from pycalc.cache.base import Cache, Shared
from pycalc.db.base import Database, HistoryFilter, HistoryStore, UserStore
from pycalc.db.history import SqlHistoryStore
from pycalc.db.users import SqlUserStore
from pycalc.models.ids import IdSource
from pycalc.resources.resource_stack import ResourceStack
from pycalc.services.calculations.fingerprint import arithmetic_version
from pycalc.streaming.base import Stream

_log = get_logger(__name__)


class Backends(NamedTuple):
    """The open backends, and the stores on them that several services use."""

    database: Database
    users: UserStore
    history: HistoryStore
    ids: IdSource
    cache: Cache
    shared: Shared | None  # the cache if instances share it, else None
    stream: Stream
    # The database without the limits of FairDatabase per client. It serves work that has a concurrency limit of its own
    # for all users together, such as exports. If such work also waited for its client's share of the database, it would
    # hold its slot meanwhile, and the work of others would wait for this slot.
    unshared: Database


async def open_backends(stack: ResourceStack) -> Backends:
    """Open the database, the cache and the stream, in this order. Raises ValueError and StoreUnavailable."""
    database = await stack.database()
    for queue in database.queue_lengths():
        length = partial(lambda name: database.queue_lengths()[name], queue)
        stack.metrics.database_work.labels(queue).set_function(length)
    history = SqlHistoryStore(database)
    newest = await history.page(HistoryFilter(), None, 1)
    ids = IdSource(newest[0].id if newest else None, _log_ids_ahead)
    stack.metrics.ids_ahead.set_function(ids.ahead_seconds)
    cache = stack.closing(await open_cache(stack.settings.cache_url, stack.metrics, arithmetic_version))
    shared = cache if isinstance(cache, Shared) else None
    return Backends(database, SqlUserStore(database), history, ids, cache, shared, await stack.stream(), database)


def _log_ids_ahead(seconds: float) -> None:
    _log.error("recorded ids are ahead of this host's clock: compare the clocks of all hosts", seconds=round(seconds))
