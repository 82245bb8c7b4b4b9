"""INSERT statements for many rows at once, in the fastest form for each driver."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection, Table

from pycalc.db.base import ROWS_PER_STATEMENT, Rows

_MOST_ROWS = 8 * ROWS_PER_STATEMENT  # a full batch; with 15 columns, this takes half of SQLite's 32,766 variables
_ARRAYS = {bytes: "bytea[]", str: "text[]", bool: "boolean[]", int: "bigint[]"}


def _into(table: Table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f"INSERT INTO {table.name} ({columns})"


@lru_cache(maxsize=4 * ROWS_PER_STATEMENT)
def _values_insert(table: Table, rows: int) -> str:
    row = f"({', '.join('?' * len(table.columns))})"
    return f"{_into(table)} VALUES {', '.join([row] * rows)}"


def values_inserts(table: Table, rows: Rows) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield SQLite's INSERT statements for these rows, each with its parameters.

    Each inserts many rows, because the driver releases the interpreter's lock for each statement, and to reacquire it
    from a busy event loop is slow. A statement has fewer rows than ROWS_PER_STATEMENT or a multiple of it, so that few
    different statements are prepared.
    """
    while rows:
        width = min(len(rows) - len(rows) % ROWS_PER_STATEMENT or len(rows), _MOST_ROWS)
        yield _values_insert(table, width), tuple(chain.from_iterable(rows[:width]))
        rows = rows[width:]


@lru_cache(maxsize=16)
def arrays_insert(table: Table, first: int = 1) -> str:
    """Return PostgreSQL's INSERT for many rows. Its parameters, from ``$first`` on, are an array for each column."""
    arrays = ", ".join(f"${n}::{_ARRAYS[column.type.python_type]}" for n, column in enumerate(table.columns, first))
    return f"{_into(table)} SELECT * FROM unnest({arrays})"  # noqa: S608  # our own names


@lru_cache(maxsize=16)
def arrays_inserts(table: Table, also: Table | None, *, repeated: bool) -> str:
    """Return PostgreSQL's INSERT into ``table`` and, unless it is None, into ``also`` in the same statement.

    With ``repeated``, it skips rows that exist, but fails if ``also`` has a different row with the same primary key.
    """
    insert = arrays_insert(table) + (" ON CONFLICT DO NOTHING" if repeated else "")
    if also is None:
        return insert
    second, key = arrays_insert(also, 1 + len(table.columns)), next(iter(also.columns)).name
    if repeated:
        # PostgreSQL has no clause that fails for a different row, so this tries to set its key to NULL, which fails.
        differs = f"{also.name}.* IS DISTINCT FROM excluded.*"
        second += f" ON CONFLICT ({key}) DO UPDATE SET {key} = NULL WHERE {differs}"
    return f"WITH also AS ({second}) {insert}"


def insert_rows(connection: Connection, table: Table, rows: Rows, then: str = "") -> None:
    """Insert one or more rows with all columns, in the caller's transaction. ``then`` may be an ON CONFLICT clause."""
    if connection.dialect.name == "postgresql":
        columns = tuple(map(list, zip(*rows, strict=True)))
        connection.exec_driver_sql(f"{arrays_insert(table)} WHERE true {then}", columns)
        return
    for statement, values in values_inserts(table, rows):
        connection.exec_driver_sql(f"{statement} {then}", values)
