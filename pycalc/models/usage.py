"""Usage: what one event adds to the totals, and the totals as they go over the wire."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from pycalc.models.events import Event
from pycalc.models.history import HistoryRow
from pycalc.models.ids import unix_ms_of_id
from pycalc.models.math import Number
from pycalc.models.numbers import json_literal

_DAY_MS = 24 * 3600 * 1000
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Use(NamedTuple):
    """One calculation, as far as the totals are concerned."""

    event_id: bytes
    user_id: bytes
    day: int
    """Days since 1970-01-01, UTC."""
    operation: str
    cached: bool
    digits: int
    compute_us: int


class Total(NamedTuple):
    """The sums of a day and an operation."""

    day: int
    operation: str
    calculations: int
    cached: int
    digits: int
    compute_us: int


class UsageItem(TypedDict):
    """The totals of a day and an operation."""

    day: Annotated[str, Field(description="UTC, `2026-11-22`")]
    operation: str
    count: int
    cached: Annotated[int, Field(description="how many of them a cache answered")]
    digits: Annotated[Number, Field(description="digits of all results")]
    compute_ms: Annotated[float, Field(description="time spent on them, milliseconds")]


class UsageReport(TypedDict):
    """Usage totals, the newest day first."""

    items: list[UsageItem]


def use_of(event: Event) -> Use:
    """Return what an event adds to the totals; raises ValueError for one that does not say."""
    day = unix_ms_of_id(event.id) // _DAY_MS
    if isinstance(event.content, HistoryRow):
        row = event.content
        return Use(row.id, row.user_id, day, row.operation, bool(row.cached), int(row.digits), row.elapsed_us)
    try:
        item = json.loads(event.content)["data"]
        return Use(
            event.id,
            event.key,
            day,
            str(item["operation"]),
            bool(item["cached"]),
            int(item["digits"]),
            round(item["elapsed_ms"] * 1000),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an event of a calculation: {error!r}") from error


def day_of(day: date) -> int:
    """Return a date's number."""
    return day.toordinal() - _EPOCH_DAY


def encode_report(totals: list[Total]) -> str:
    """Return a UsageReport as JSON text."""
    items = ",".join(
        f'{{"day":"{date.fromordinal(total.day + _EPOCH_DAY)}","operation":"{total.operation}",'
        f'"count":{total.calculations},"cached":{total.cached},"digits":{json_literal(str(total.digits))},'
        f'"compute_ms":{total.compute_us / 1000:.3f}}}'
        for total in totals
    )
    return f'{{"items":[{items}]}}'
