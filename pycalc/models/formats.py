"""Types of fields, with their formats in the OpenAPI document, and messages that replace those of pydantic."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, ValidationError, WrapValidator, with_config
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

_Check = Callable[[Any], object]
_TypeT = TypeVar("_TypeT", bound=type)

EXPECTED = "expected"  # the type of an error whose context has, as ``what``, what the field must be


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


def with_example(**example: Any) -> Callable[[_TypeT], _TypeT]:
    """Return a decorator that gives a TypedDict an example for the OpenAPI document."""
    return with_config(json_schema_extra={"example": example})


def request_config(**example: Any) -> ConfigDict:
    """Return the configuration of a body that refuses unknown members, with an example for the OpenAPI document."""
    return ConfigDict(extra="forbid", json_schema_extra={"example": example})


# The length of a page in a query. Pydantic would read other notations too, such as ``1_0``.
PageLimit = Annotated[
    int, Field(ge=1, le=1000), expected("a whole number from 1 to 1,000", given=re.compile("[0-9]+").fullmatch)
]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Ends = Annotated[str, Field(max_length=20, pattern="^[0-9a-z]*$")]  # the first or last digits of a result
NextCursor = Annotated[str | None, Field(description="pass it as `cursor` for the next page; null on the last")]
Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern="^[0-9a-f]*$")]
