"""Types of fields and times (RFC 3339), their formats in the OpenAPI document, and messages for wrong values."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

_Check = Callable[[Any], object]

EXPECTED = "expected"  # the type of an error whose context has, as ``what``, what the field must be

Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Ends = Annotated[str, Field(max_length=20, pattern="^[0-9a-z]*$")]  # the first or last digits of a result
NextCursor = Annotated[str | None, Field(description="pass it as `cursor` for the next page; null on the last")]
Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern="^[0-9a-f]*$")]
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII | re.IGNORECASE,
)
_FULL_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_AGE = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def expected(what: str, *, accepts: _Check = lambda _: True, given: _Check = lambda _: True) -> WrapValidator:
    """Return an annotation that replaces every validation error of a field by "must be ``what``".

    Put the annotation after the constraints that it describes. ``given`` is called with the value in the request. Then,
    if the value meets the constraints, ``accepts`` is called with the validated value. Both functions refuse a value by
    a false result or a ValueError.
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        with suppress(ValidationError, ValueError):
            if given(value) and accepts(result := handler(value)):
                return result
        raise PydanticCustomError(EXPECTED, "must be {what}", {"what": what})

    return WrapValidator(validate)


def request_config(**example: Any) -> ConfigDict:
    """Return the configuration of a body that refuses unknown members, with an example for the OpenAPI document."""
    return ConfigDict(extra="forbid", json_schema_extra={"example": example})


# The length of a page in a query. Pydantic would read other notations too, such as ``1_0``.
PageLimit = Annotated[
    int, Field(ge=1, le=1000), expected("a whole number from 1 to 1,000", given=re.compile("[0-9]+").fullmatch)
]


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
