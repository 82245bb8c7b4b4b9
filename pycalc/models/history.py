"""The history: its rows as they are stored, and its items as clients see them."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from pycalc.models.formats import Ends, NextCursor, Sha256, Timestamp, Uuid, timestamp
from pycalc.models.ids import text_of_id, unix_ms_of_id
from pycalc.models.json_text import json_literal, quoted
from pycalc.models.math import ELAPSED, SHORTENED, Number, Outcome

_BOOLEAN = ("false", "true")


class HistoryRow(NamedTuple):
    """A recorded calculation. Its fields are in the order of the table's columns."""

    id: bytes
    user_id: bytes
    username: str
    operation: str
    input: str
    result: str | None
    digits: str
    exact: bool
    leading: str
    trailing: str
    sha256: bytes | None
    cached: bool
    elapsed_us: int
    traceparent: str | None = None  # the span that recorded the row (W3C Trace Context), when its trace is sampled
    # When the row was recorded, by the clock; None for rows older than this column, whose time is in their id.
    created_ms: int | None = None

    @property
    def time_ms(self) -> int:
        """Return the time of the recording in milliseconds since the epoch."""
        return unix_ms_of_id(self.id) if self.created_ms is None else self.created_ms


HISTORY_EXAMPLE: dict[str, Any] = {
    "id": "01a22906-89c8-7645-876f-c70985c56e80",
    "operation": "fibonacci",
    "input": {"n": 100},
    "result": "354224848179261915075",
    "digits": 21,
    "exact": True,
    "leading": "35422484817926191507",
    "trailing": "54224848179261915075",
    "sha256": "9f3cd0550139d594df1a95c59b7cac2469e3f594ead276485b23a5016f09e830",
    "cached": False,
    "elapsed_ms": 0.278,
    "user": "ada",
    "created_at": "2026-11-29T20:37:04.072Z",
}


class HistoryItem(TypedDict):
    """A calculation as shown in the history."""

    id: Annotated[Uuid, Field(description="UUIDv7 (RFC 9562)")]
    operation: str
    input: Annotated[dict[str, Number], Field(description=f"operands and options; {SHORTENED.format(1_000)}")]
    result: Annotated[Outcome | None, Field(description="null for a summary, and for a result of over 1,000 digits")]
    digits: Number
    exact: bool
    leading: Annotated[Ends, Field(description="the first 20 digits")]
    trailing: Annotated[Ends, Field(description="the last 20 digits")]
    sha256: Annotated[Sha256 | None, Field(description="SHA-256 of the result's text; null: it was not computed")]
    cached: bool
    elapsed_ms: Annotated[float, Field(description=ELAPSED)]
    user: str
    created_at: Annotated[Timestamp, Field(description="when it was recorded: RFC 3339, UTC, milliseconds")]


class HistoryPage(TypedDict):
    """A page of the history, newest first."""

    items: list[HistoryItem]
    next_cursor: NextCursor
    role: Annotated[str, Field(description="the caller's role: an admin sees everyone's calculations")]


def encode_item(row: HistoryRow) -> str:
    """Return a stored row as the JSON text of a HistoryItem.

    The text is written member by member, which is three times as fast as ``json.dumps`` and gives ``elapsed_ms`` three
    decimals (ADR 7).
    """
    digest = "null" if row.sha256 is None else f'"{row.sha256.hex()}"'
    return (
        f'{{"id":"{text_of_id(row.id)}","operation":{quoted(row.operation)},"input":{row.input},'
        f'"result":{_result(row)},"digits":{json_literal(row.digits)},'
        f'"exact":{_BOOLEAN[row.exact]},"leading":{quoted(row.leading)},"trailing":{quoted(row.trailing)},'
        f'"sha256":{digest},"cached":{_BOOLEAN[row.cached]},"elapsed_ms":{row.elapsed_us / 1000:.3f},'
        f'"user":{quoted(row.username)},"created_at":"{timestamp(row.time_ms)}"}}'
    )


def _result(row: HistoryRow) -> str:
    """Return a row's result as JSON. A result in a base other than ten is always a string."""
    if row.result is None:
        return "null"
    return quoted(row.result) if _in_another_base(row) else json_literal(row.result)


def _in_another_base(row: HistoryRow) -> bool:
    return '"base":' in row.input  # this matches no text inside a JSON string, where quotes are escaped


# The first line of a history as CSV (RFC 4180): the members of an item, in their order.
CSV_HEADER = ",".join(HistoryItem.__annotations__) + "\r\n"


def encode_csv(row: HistoryRow) -> str:
    """Return a stored row as a line of CSV (RFC 4180), in which a spreadsheet finds no formula.

    The operands, and a result that is a list, an object or in a base other than ten, are JSON in quotes.
    """
    # No cell begins like a formula: names begin with a letter, a digit or a parenthesis, and the operands with a brace.
    # A cell that begins with a sign is a number.
    operands = row.input.replace('"', '""')
    result = row.result or ""
    if result.startswith(("[", "{")) or (result and _in_another_base(row)):
        result = '"{}"'.format(_result(row).replace('"', '""'))
    return (
        f'{text_of_id(row.id)},{row.operation},"{operands}",{result},{row.digits},{_BOOLEAN[row.exact]},'
        f"{row.leading},{row.trailing},{'' if row.sha256 is None else row.sha256.hex()},{_BOOLEAN[row.cached]},"
        f"{row.elapsed_us / 1000:.3f},{row.username},{timestamp(row.time_ms)}\r\n"
    )
