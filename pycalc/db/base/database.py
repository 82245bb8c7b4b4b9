"""The interface of a database adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Table

T = TypeVar("T")

Rows = Sequence[tuple[object, ...]]

# An insert of more rows into SQLite is split into statements for multiples of this number, and one for the rest.
ROWS_PER_STATEMENT = 125


class Database(Protocol):
    """A database that runs functions in transactions, without blocking the event loop on I/O.

    Each function is called with a connection. ``read``, ``read_reserved`` and ``write`` have separate, bounded queues.
    They raise SQLAlchemy's IntegrityError and DataError, which values cause, unchanged.
    """

    @property
    def shared(self) -> bool:
        """Return whether other processes may use the database at the same time."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return the result of ``work`` in a read-only transaction. If a connection breaks, ``work`` may run twice."""

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` as ``read`` does, but on a separate connection, so that it does not wait for other reads."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and return its result once the transaction is durable. Roll back if ``work`` raises an error."""

    async def insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None = None) -> None:
        """Insert one or more rows, all or none, in one transaction, and return once they are durable.

        This is faster than ``write``. Each row must have a value for every column of ``table``. ``also`` is a second
        table, whose primary key is its first column, with one or more rows for it. Raises RowsRejected if the database
        rejects a row because of its values.
        """

    def queue_lengths(self) -> Mapping[str, int]:
        """Return the number of running and waiting functions in each queue, by the queue's name."""

    async def ping(self) -> None:
        """Check that the database answers; raises StoreUnavailable if not, and StoreReadOnly if it refuses writes."""

    async def aclose(self) -> None:
        """Finish the running and waiting functions, without a time limit, and close all connections."""
