"""The interface of a database adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Table

T = TypeVar("T")

Rows = Sequence[tuple[object, ...]]

ROWS_PER_STATEMENT = 125  # an insert of more rows into SQLite takes a multiple of it in one statement, and the rest


class Database(Protocol):
    """A database that runs functions of a connection, each in a transaction and off the event loop.

    Reads, reserved reads and writes wait in separate, bounded queues.
    """

    @property
    def shared(self) -> bool:
        """Return whether other processes may use the database at the same time."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a read-only transaction and return its result."""

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` as ``read`` does, on a connection that ``read`` does not use."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` and return its result once the transaction is durable. If ``work`` raises, roll back."""

    async def insert(self, table: Table, rows: Rows, also: tuple[Table, Rows] | None = None) -> None:
        """Insert rows faster than ``write``, all or none, in one transaction, and return once they are durable.

        Each row must have a value for every column of ``table``. ``also`` is a second table, whose primary key is its
        first column, with rows for it. Raises RowsRejected if the database rejects a row because of its values.
        """

    def queue_lengths(self) -> Mapping[str, int]:
        """Return the number of running and waiting functions in each queue, by the queue's name."""

    async def ping(self) -> None:
        """Check that the database answers. Raises StoreReadOnly if the server accepts only reads."""

    async def aclose(self) -> None:
        """Finish the running and waiting functions, without a time limit, and close all connections."""
