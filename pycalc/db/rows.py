"""INSERT statements for many rows at once, in the fastest way for each driver."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection, Table

from pycalc.db.base import ROWS_PER_STATEMENT, Rows

_MOST_ROWS = 8 * ROWS_PER_STATEMENT  # with 15 columns half of SQLite's limit of 32,766 variables, and a full batch
_ARRAYS = {bytes: "bytea[]", str: "text[]", bool: "boolean[]", int: "bigint[]"}


def _into(table: Table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f"INSERT INTO {table.name} ({columns})"


@lru_cache(maxsize=4 * ROWS_PER_STATEMENT)
def _values_insert(table: Table, rows: int) -> str:
    row = f"({', '.join('?' * len(table.columns))})"
    return f"{_into(table)} VALUES {', '.join([row] * rows)}"


def values_inserts(table: Table, rows: Rows) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield SQLite's INSERT statements for these rows, with their parameters.

    The driver releases and reacquires the interpreter's lock once for each statement. While the event loop is busy,
    every reacquisition is slow, so the statements are as long as possible. Above ROWS_PER_STATEMENT rows, only
    multiples of it are used, so that few statements are prepared.
    """
    while rows:
        width = min(len(rows) - len(rows) % ROWS_PER_STATEMENT or len(rows), _MOST_ROWS)
        yield _values_insert(table, width), tuple(chain.from_iterable(rows[:width]))
        rows = rows[width:]


@lru_cache(maxsize=16)
def arrays_insert(table: Table, first: int = 1) -> str:
    """Return PostgreSQL's INSERT for any number of rows. Each column is an array parameter, from ``$first`` on."""
    arrays = ", ".join(f"${n}::{_ARRAYS[column.type.python_type]}" for n, column in enumerate(table.columns, first))
    return f"{_into(table)} SELECT * FROM unnest({arrays})"  # noqa: S608  # our own names


@lru_cache(maxsize=16)
def arrays_inserts(table: Table, also: Table | None, *, repeated: bool) -> str:
    """Return PostgreSQL's INSERT into one table, or into two tables in the same statement.

    ``repeated`` is for a repetition after a lost reply: the statement skips rows that exist. It fails if a different
    row exists under the primary key of a row of ``also``, because the key is then set to NULL.
    """
    insert = arrays_insert(table) + (" ON CONFLICT DO NOTHING" if repeated else "")
    if also is None:
        return insert
    second, key = arrays_insert(also, 1 + len(table.columns)), next(iter(also.columns)).name
    if repeated:
        differs = f"{also.name}.* IS DISTINCT FROM excluded.*"
        second += f" ON CONFLICT ({key}) DO UPDATE SET {key} = NULL WHERE {differs}"
    return f"WITH also AS ({second}) {insert}"


def insert_rows(connection: Connection, table: Table, rows: Rows, then: str = "") -> None:
    """Insert rows, which have a value for every column, within a transaction; ``then`` may be an ON CONFLICT clause."""
    if connection.dialect.name == "postgresql":
        columns = tuple(map(list, zip(*rows, strict=True)))
        connection.exec_driver_sql(f"{arrays_insert(table)} WHERE true {then}", columns)
        return
    for statement, values in values_inserts(table, rows):
        connection.exec_driver_sql(f"{statement} {then}", values)
