"""Times in requests and responses (RFC 3339): strict reading, and writing in a single format."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import BeforeValidator

from pycalc.models.formats import expected

_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII | re.IGNORECASE,
)
_FULL_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_AGE = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


@lru_cache(maxsize=16)
def _second(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(unix_ms: int) -> str:
    """Return a time as RFC 3339 text in UTC with milliseconds."""
    seconds, milliseconds = divmod(unix_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


# A time in a request's query.
Moment = Annotated[
    datetime,
    BeforeValidator(lambda text: datetime.fromisoformat(text.upper())),
    expected(
        "a date-time with an offset (RFC 3339) such as 2026-11-28T19:53:21Z; in a query, write + as %2B",
        given=_DATE_TIME.fullmatch,
    ),
]
# A day in a request's query.
GivenDay = Annotated[
    date,
    BeforeValidator(date.fromisoformat),
    expected("a day (RFC 3339 full-date) such as 2026-11-28", given=_FULL_DATE.fullmatch),
]


def parse_age(text: str) -> timedelta:
    """Return the age in a text such as ``365d``, ``52w`` or ``36h``; raises ValueError for other texts."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an age such as 365d, 52w or 36h")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])
