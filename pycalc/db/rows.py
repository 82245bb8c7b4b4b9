"""INSERT statements for many rows at once, as each driver takes them fastest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection, Table

from pycalc.db.base import ROWS_AT_ONCE

_ARRAYS = {bytes: "bytea[]", str: "text[]", bool: "boolean[]", int: "bigint[]"}


def _into(table: Table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f"INSERT INTO {table.name} ({columns})"


@lru_cache(maxsize=4 * ROWS_AT_ONCE)
def values_insert(table: Table, rows: int) -> str:
    """Return SQLite's INSERT of so many rows.

    One statement is one call into the driver: the interpreter's lock is given up and won back once for the whole
    transaction, its sync included, which is what a busy event loop in the same process can spare.
    """
    row = f"({', '.join('?' * len(table.columns))})"
    return f"{_into(table)} VALUES {', '.join([row] * rows)}"


@lru_cache(maxsize=16)
def arrays_insert(table: Table) -> str:
    """Return PostgreSQL's INSERT of any number of rows, given by an array for each column."""
    arrays = ", ".join(f"${n}::{_ARRAYS[column.type.python_type]}" for n, column in enumerate(table.columns, 1))
    return f"{_into(table)} SELECT * FROM unnest({arrays})"  # noqa: S608  # our own names


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[object, ...]], then: str = "") -> None:
    """Insert whole rows within a transaction; ``then`` is what to do with conflicts."""
    if connection.dialect.name == "postgresql":
        columns = tuple(map(list, zip(*rows, strict=True)))
        connection.exec_driver_sql(f"{arrays_insert(table)} WHERE true {then}", columns)
        return
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        connection.exec_driver_sql(f"{values_insert(table, len(part))} {then}", tuple(chain.from_iterable(part)))
