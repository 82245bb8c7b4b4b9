"""Types of fields, with their formats in the OpenAPI document, and messages that replace those of pydantic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

EXPECTED = "expected"  # the type of an error whose context has, as ``what``, what the field must be


def expected(what: str, check: Callable[[Any], Any] = lambda value: value) -> WrapValidator:
    """Return an annotation that replaces every validation error of a field by "must be ``what``".

    The annotation must follow the constraints that it describes. ``check`` gets each value that meets them. It must
    return the field's value, or raise ValueError.
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(handler(value))
        except (ValidationError, ValueError):
            raise PydanticCustomError(EXPECTED, "must be {what}", {"what": what}) from None

    return WrapValidator(validate)


def request_config(**example: Any) -> ConfigDict:
    """Return the configuration of a body that refuses unknown members, with an example for the OpenAPI document."""
    return ConfigDict(extra="forbid", json_schema_extra={"example": example})


def _in_digits(text: str) -> str:  # pydantic would read other notations too, such as ``1_0``
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
NextCursor = Annotated[str | None, Field(description="pass it as `cursor` for the next page; null on the last")]
Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern="^[0-9a-f]*$")]
