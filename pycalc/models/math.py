"""Calculations as they go over the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

LARGEST_JSON_INTEGER = 2**53 - 1
_SAFE_LENGTH = len(str(LARGEST_JSON_INTEGER)) + 1

Number = Annotated[
    int | str,
    Field(description="a JSON number within ±(2^53 - 1), a string otherwise (RFC 7493)", union_mode="left_to_right"),
]


def json_literal(text: str) -> str:
    """Return a result's text as JSON: an integer bare where every reader keeps it exactly, else quoted.

    RFC 7493 §2.2: integers beyond ±(2^53 - 1) are not interoperable as JSON numbers.
    """
    if len(text) <= _SAFE_LENGTH and text.lstrip("-").isdigit() and abs(int(text)) <= LARGEST_JSON_INTEGER:
        return text
    return f'"{text}"'


@with_config(
    ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019aab12-7c00-7123-8456-426614174000",
                "operation": "fibonacci",
                "input": {"n": 100},
                "result": "354224848179261915075",
                "digits": 21,
                "exact": True,
                "cached": False,
                "elapsed_ms": 0.02,
            }
        }
    )
)
class Calculation(TypedDict):
    """One calculation and its result."""

    id: Annotated[str, Field(description="UUIDv7 (RFC 9562); also the id of its event")]
    operation: str
    input: Annotated[dict[str, Number], Field(description="the operands in canonical form")]
    result: Number
    digits: Annotated[int, Field(description="number of digits in the result")]
    exact: Annotated[bool, Field(description="false: correctly rounded to the asked precision")]
    cached: Annotated[bool, Field(description="whether the result was made by an earlier calculation")]
    elapsed_ms: Annotated[float, Field(description="from the request's arrival to the result, milliseconds")]
