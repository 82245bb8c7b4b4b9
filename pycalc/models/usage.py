"""Usage: the amounts that one event adds to the totals, and the totals as clients see them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from pycalc.models.events import Event
from pycalc.models.formats import Day, Timestamp, timestamp
from pycalc.models.history import HistoryRow
from pycalc.models.json_text import json_literal, quoted
from pycalc.models.math import Number

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_NAME = re.compile(r"[a-z0-9_.-]{1,32}")


class Use(NamedTuple):
    """The amounts that one calculation adds to the usage totals."""

    event_id: bytes
    user_id: bytes
    day: int  # days since 1970-01-01, UTC
    operation: str
    cached: bool
    digits: int
    compute_us: int


class Total(NamedTuple):
    """The totals of one operation on one day."""

    day: int  # days since 1970-01-01, UTC
    operation: str
    calculations: int
    cached: int
    digits: int
    compute_us: int


class QuotaItem(TypedDict):
    """One of the caller's quotas."""

    name: Annotated[str, Field(description="`compute`: seconds; `digits`: bytes of results; `key-...`: of the API key")]
    limit: float
    used: Annotated[float, Field(description="since the present window began")]
    remaining: float
    window: Annotated[int, Field(description="length of a window, seconds")]
    resets_at: Annotated[Timestamp, Field(description="when the next window begins")]


class UsageItem(TypedDict):
    """The totals of a day and an operation."""

    day: Annotated[Day, Field(description="UTC, `2026-11-22`")]
    operation: str
    count: int
    cached: Annotated[int, Field(description="how many of them a cache answered")]
    digits: Annotated[Number, Field(description="digits of the results: of a summary, those of its two ends")]
    compute_ms: Annotated[float, Field(description="time spent on them, milliseconds")]


class UsageReport(TypedDict):
    """Usage totals, the newest day first, and the caller's quotas."""

    items: list[UsageItem]
    quotas: list[QuotaItem]


def use_of(event: Event) -> Use:
    """Return the amounts that an event adds to the totals.

    Raises ValueError if an event in JSON is malformed, or lacks an amount, or has one that is out of bounds.
    """
    day = event.time_ms // 86_400_000
    if isinstance(event.content, HistoryRow):  # our own row, whose amounts the limits of a calculation bound
        row = event.content
        digits = int(row.digits)
        if row.sha256 is None:
            digits = min(digits, len(row.leading) + len(row.trailing))  # of a summary, only both ends are shown
        return Use(row.id, row.user_id, day, row.operation, row.cached, digits, row.elapsed_us)
    try:
        item = json.loads(event.content)["data"]
        digits, elapsed_ms = int(item["digits"]), item["elapsed_ms"]
        if not isinstance(elapsed_ms, int | float):  # a thousand times a long text or list would fill the memory
            raise TypeError("elapsed_ms is not a number")
        if "created_at" in item:
            day = day_of(date.fromisoformat(item["created_at"][:10]))
        if item.get("sha256", "") is None:
            digits = min(digits, len(item["leading"]) + len(item["trailing"]))
        elapsed_us = round(elapsed_ms * 1000)
        use = Use(event.id, event.key, day, item["operation"], bool(item["cached"]), digits, elapsed_us)
    except (KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an event of a calculation: {error!r}") from error
    if not (isinstance(use.operation, str) and _NAME.fullmatch(use.operation)):
        raise ValueError("not the name of an operation")
    # The columns of the totals have room for nine million events with these amounts.
    if use.day > day_of(date.max) or not (0 <= use.digits < 10**24 and 0 <= use.compute_us < 10**12):
        raise ValueError("a day, a number of digits or a time out of bounds")
    return use


def day_of(day: date) -> int:
    """Return a date as the number of days since 1970-01-01."""
    return day.toordinal() - _EPOCH_DAY


def quota_item(name: str, limit: float, used: float, window: int, resets_at: int) -> QuotaItem:
    """Return the state of a quota, whose window of ``window`` seconds ends ``resets_at`` seconds after the epoch."""
    remaining, reset = round(max(0, limit - used), 6), timestamp(resets_at * 1000)
    return QuotaItem(name=name, limit=limit, used=used, remaining=remaining, window=window, resets_at=reset)


def encode_report(totals: list[Total], quotas: Sequence[QuotaItem]) -> str:
    """Return a UsageReport as JSON text."""
    items = ",".join(
        f'{{"day":"{date.fromordinal(total.day + _EPOCH_DAY)}","operation":{quoted(total.operation)},'
        f'"count":{total.calculations},"cached":{total.cached},"digits":{json_literal(str(total.digits))},'
        f'"compute_ms":{total.compute_us / 1000:.3f}}}'
        for total in totals
    )
    return f'{{"items":[{items}],"quotas":{json.dumps(quotas, separators=(",", ":"))}}}'
