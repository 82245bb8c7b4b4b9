"""SQLite's INSERT statements for many rows."""

from __future__ import annotations

from itertools import chain

import pytest

from pycalc.db.rows import values_inserts
from pycalc.db.tables import history
from pycalc.models.math import MAX_BATCH
from tests.harness.stores import history_row


@pytest.mark.parametrize(
    ("rows", "widths"),
    [
        (0, []),
        (1, [1]),
        (124, [124]),
        (125, [125]),
        (126, [125, 1]),
        (300, [250, 50]),
        (MAX_BATCH, [MAX_BATCH]),  # one statement, which needs no transaction around it
        (2_130, [1_000, 1_000, 125, 5]),
    ],
)
def test_rows_share_few_statements_of_few_widths(rows: int, widths: list[int]) -> None:
    """Few statements insert all rows in order, each within SQLite's limit of 32,766 variables."""
    wanted = [history_row(number) for number in range(rows)]
    statements = list(values_inserts(history, wanted))
    assert [statement.count("(?") for statement, _ in statements] == widths
    assert [len(values) for _, values in statements] == [width * len(history.columns) for width in widths]
    assert list(chain.from_iterable(values for _, values in statements)) == list(chain.from_iterable(wanted))
    assert all(len(values) <= 32_766 for _, values in statements)
