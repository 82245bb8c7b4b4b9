"""The interface of a database adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Table

T = TypeVar("T")

Rows = Sequence[tuple[object, ...]]

ROWS_PER_STATEMENT = 128  # a larger insert into SQLite takes several statements


class Database(Protocol):
    """A database that runs units of work: plain functions over a connection, each in a transaction off the event loop.

    Reads, reserved reads and writes wait in separate, bounded queues.
    """

    @property
    def shared(self) -> bool:
        """Return whether other processes may use the database at the same time."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a read-only transaction and return its result."""

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` as ``read`` does, on a connection that ordinary reads never occupy."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and return its result once the transaction is durable; roll back when ``work`` raises."""

    async def insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None = None) -> None:
        """Insert complete rows, all or none, in one transaction, and return once they are durable.

        ``also`` are the rows of a second table, whose primary key is its first column. This is faster than ``write``.
        Raises RowsRejected when the database rejects a row for its values.
        """

    def under_way(self) -> Mapping[str, int]:
        """Return the number of units of work in each queue, running or waiting."""

    async def ping(self) -> None:
        """Check that the database answers; raises StoreReadOnly when the server accepts reads only."""

    async def aclose(self) -> None:
        """Finish the work that has begun or waits, without a time limit, and close all connections."""
