"""The SQL of the history and of the idempotency keys."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Select, delete, exists, func, select, text, true

from pycalc.db.base import HistoryFilter, RowSize
from pycalc.db.sql_store import SqlStore, transaction
from pycalc.db.tables import dead_letters, history, idempotency_keys, outbox
from pycalc.errors import KeysTaken, RowsRejected
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.models.ids import first_id_of_ms

# The probe changes a row of its own in the leases table, which only probes lock. The row's value alternates,
# because SQLite commits an update to the same value without any write, even on a full disk.
_PROBE = text(
    "INSERT INTO leases (name, until_ms) VALUES ('write probe', 0) "
    "ON CONFLICT (name) DO UPDATE SET until_ms = 1 - leases.until_ms"
)
_CLOCKS = {
    "sqlite": text("SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000"),
    "postgresql": text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"),
}
_COLUMNS = [history.c[name] for name in HistoryRow._fields]
_DEAD = exists().where(dead_letters.c.event_id == history.c.id)  # an event has the id of its calculation


def _matching(selection: HistoryFilter) -> Select[tuple[object, ...]]:
    """Return an unordered query for the selected rows of all users."""
    query = select(*_COLUMNS)
    if selection.operation is not None:
        query = query.where(history.c.operation == selection.operation)
    if selection.above is not None:
        query = query.where(history.c.id > selection.above)
    if selection.until is not None:
        query = query.where(history.c.id < selection.until)
    if selection.since_ms is not None:
        query = query.where(history.c.created_ms.is_(None) | (history.c.created_ms >= selection.since_ms))
    if selection.until_ms is not None:
        of_id = history.c.created_ms.is_(None) & (history.c.id < first_id_of_ms(selection.until_ms))
        query = query.where(of_id | (history.c.created_ms < selection.until_ms))
    return query


class SqlHistoryStore(SqlStore):
    """Recorded calculations in SQL."""

    async def append(self, rows: Sequence[HistoryRow], keys: Sequence[KeyRow] = ()) -> None:
        # Concurrent processes insert keys in the same order, which rules out deadlocks.
        also = (idempotency_keys, sorted(keys)) if keys else None
        # The trigger history_outbox (migration 0001) inserts each row's outbox entry in the same transaction. An INSERT
        # here would lose or double events while old and new releases share a database in a rolling upgrade (ADR 5).
        try:
            await self._database.insert(history, rows, also)
        except RowsRejected as error:
            query = select(idempotency_keys.c.id).where(idempotency_keys.c.id.in_([key.id for key in keys]))
            if keys and (taken := await self._list(query, lambda row: row.id)):
                raise KeysTaken("Requests with these idempotency keys are recorded.", frozenset(taken)) from error
            raise

    async def probe(self) -> None:
        await self._database.write(lambda connection: connection.execute(_PROBE))

    async def clock_ms(self) -> int:
        return await self._database.read(
            lambda connection: int(connection.execute(_CLOCKS[connection.dialect.name]).scalar_one())
        )

    async def page(self, selection: HistoryFilter, before: bytes | None, limit: int) -> list[HistoryRow]:
        if before is not None:  # one bound, because with two an index search might begin at the wrong one
            selection = selection._replace(until=min(before, selection.until or before))
        query = _matching(selection).order_by(history.c.id.desc()).limit(limit)
        return sorted(await self._rows(query, selection.user_ids), reverse=True)[:limit]

    async def find(self, identity: bytes) -> HistoryRow | None:
        return await self._row(select(*_COLUMNS).where(history.c.id == identity), HistoryRow._make)

    async def find_all(self, identities: Sequence[bytes]) -> list[HistoryRow]:
        query = select(*_COLUMNS).where(history.c.id.in_(identities))
        rows = {row.id: row for row in await self._list(query, HistoryRow._make)}
        return [rows[identity] for identity in identities if identity in rows]

    async def following(self, selection: HistoryFilter, after: bytes, limit: int) -> list[HistoryRow]:
        selection = selection._replace(above=max(after, selection.above or after))
        query = _matching(selection).order_by(history.c.id).limit(limit)
        return sorted(await self._rows(query, selection.user_ids))[:limit]

    async def user_after(self, user_id: bytes) -> bytes | None:
        query = select(history.c.user_id).where(history.c.user_id > user_id).order_by(history.c.user_id).limit(1)
        return await self._scalar(query)

    async def sizes(self, user_id: bytes, before: bytes | None, limit: int) -> list[RowSize]:
        characters = func.length(history.c.input + func.coalesce(history.c.result, "") + history.c.digits)
        query = select(history.c.id, characters).where(history.c.user_id == user_id)
        if before is not None:
            query = query.where(history.c.id < before)
        return await self._list(query.order_by(history.c.id.desc()).limit(limit), RowSize._make)

    async def prune(self, before: bytes, limit: int, user_id: bytes | None = None) -> int:
        # Other writers wait for the transaction that deletes, so the rows are chosen before it. One statement reads
        # outbox and dead letters, so that it sees an event that is requeued meanwhile either as a dead letter or in the
        # outbox. PostgreSQL before 18 has no min() of bytes.
        waiting = select(outbox.c.history_id).where(outbox.c.history_id < before).order_by(outbox.c.history_id).limit(1)
        bound = func.coalesce(waiting.scalar_subquery(), before)
        mine = true() if user_id is None else history.c.user_id == user_id
        prunable = select(history.c.id).where(mine & ~_DEAD).order_by(history.c.id)
        oldest = prunable.where(history.c.id < bound).limit(limit)
        while ids := await self._list(oldest, lambda row: row.id):
            # Another process may delete or lock the same rows, dead-letter an event, or add it to the outbox again.
            if gone := await self._delete(ids):
                return gone
            oldest = oldest.where(history.c.id > ids[-1])  # none of these could be deleted: choose later ones
        return 0

    async def _rows(self, query: Select[tuple[object, ...]], user_ids: tuple[bytes, ...] | None) -> list[HistoryRow]:
        """Return the rows of all users, or of each of these users in turn, as the index has no order across users."""
        queries = [query] if user_ids is None else [query.where(history.c.user_id == user_id) for user_id in user_ids]
        return await self._database.read(
            lambda connection: [HistoryRow._make(row) for each in queries for row in connection.execute(each).all()]
        )

    @transaction
    def _delete(self, connection: Connection, ids: Sequence[bytes]) -> int:
        """Delete the rows with these ascending ids that are not locked and have no event to be published."""
        unlocked = select(history.c.id).where(history.c.id.in_(ids)).with_for_update(skip_locked=True)
        locked = connection.scalars(unlocked).all()
        # Whoever adds an entry to the outbox locks its row first. So no entry is added from here on, and this second
        # statement sees all entries that were committed before the lock. The outbox has no index by history id, so its
        # entries are read once, not once for each row: that takes SQLite 35 ms for a million.
        waiting = select(outbox.c.history_id).where(outbox.c.history_id.between(ids[0], ids[-1]))
        prunable = history.c.id.in_(locked) & history.c.id.not_in(waiting) & ~_DEAD
        return connection.execute(delete(history).where(prunable)).rowcount


class SqlIdempotencyStore(SqlStore):
    """Recorded requests with idempotency keys in SQL."""

    async def find(self, identity: bytes) -> KeyRow | None:
        return await self._row(select(idempotency_keys).where(idempotency_keys.c.id == identity), KeyRow._make)

    @transaction
    def forget(self, connection: Connection, before_ms: int, limit: int) -> int:
        created = idempotency_keys.c.created_ms
        oldest = select(idempotency_keys.c.id).where(created < before_ms).order_by(created).limit(limit)
        # Processes that prune at the same time delete different rows.
        ids = connection.scalars(oldest.with_for_update(skip_locked=True)).all()
        connection.execute(delete(idempotency_keys).where(idempotency_keys.c.id.in_(ids)))
        return len(ids)
