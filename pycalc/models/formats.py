"""Values whose form the OpenAPI document names."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from pycalc.models.expectations import expected


def _in_digits(text: str) -> str:
    """Return a whole number's text; raises ValueError for the other forms that pydantic reads, such as ``1_0``."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return text


# The length of a page in a query.
PageLimit = Annotated[
    int, Field(ge=1, le=1000), BeforeValidator(_in_digits), expected("a whole number from 1 to 1,000")
]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Ends = Annotated[str, Field(max_length=20, pattern="^[0-9a-z]*$")]  # the first or last digits of a result
Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern="^[0-9a-f]*$")]
