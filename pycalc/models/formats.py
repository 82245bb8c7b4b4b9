"""Types of fields, with their formats in the OpenAPI document and with messages that say what a field expects.

The messages replace those of pydantic.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

# The type of the error for a field with an unexpected value; the error's context has the expectation as ``what``.
EXPECTED = "expected"


def expected(what: str) -> WrapValidator:
    """Return an annotation that replaces every validation error of a field by "must be ``what``".

    The annotation must follow the constraints that it describes.
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except (ValidationError, ValueError):
            raise PydanticCustomError(EXPECTED, "must be {what}", {"what": what}) from None

    return WrapValidator(validate)


def _in_digits(text: str) -> str:
    """Return the text of a whole number; raises ValueError for other notations that pydantic reads, such as ``1_0``."""
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
