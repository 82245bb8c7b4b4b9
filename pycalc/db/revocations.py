"""The SQL of the revocations. Their numbers follow the order of commits, so that no reader misses a revocation."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from pycalc.db.base import Revocations
from pycalc.db.sql_store import SqlStore
from pycalc.db.tables import revocation_counter, revocations, sessions

_KEPT = 10_000


def revoke(connection: Connection, user_id: bytes) -> None:
    """Make all processes evict a user's cached tokens. Call this last, because it locks the revocations' counter."""
    number = connection.scalar(
        update(revocation_counter).values(value=revocation_counter.c.value + 1).returning(revocation_counter.c.value)
    )
    connection.execute(insert(revocations).values(number=number, user_id=user_id))
    connection.execute(delete(revocations).where(revocations.c.number <= number - _KEPT))


def end_sessions(connection: Connection, user_id: bytes, session_id: bytes | None = None) -> None:
    """End the user's sessions except ``session_id``, and add a revocation. Call this last in a transaction."""
    ended = sessions.c.user_id == user_id
    if session_id is not None:
        ended &= sessions.c.id != session_id
    connection.execute(delete(sessions).where(ended))
    revoke(connection, user_id)


class SqlRevocationStore(SqlStore):
    """Revocations in SQL."""

    async def newest(self) -> int:
        query = select(revocation_counter.c.value)
        return await self._database.read_reserved(lambda connection: connection.execute(query).scalar_one())

    async def since(self, number: int) -> Revocations:
        def work(connection: Connection) -> Revocations:
            newest: int = connection.execute(select(revocation_counter.c.value)).scalar_one()
            later = (revocations.c.number > number) & (revocations.c.number <= newest)
            users = connection.scalars(select(revocations.c.user_id).where(later)).all() if newest > number else []
            return Revocations(newest, frozenset(users) if len(users) == newest - number else None)

        return await self._database.read_reserved(work)
