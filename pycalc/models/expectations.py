"""Messages for invalid input: each field says what it expects, in place of the validator's phrases."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

# The type of the error of a field with an unexpected value; its context has the expectation, ``what``.
EXPECTED = "expected"


def expected(what: str) -> WrapValidator:
    """Return an annotation that replaces every validation error of a field by "must be ``what``".

    Put it last, after the constraints that it describes.
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except (ValidationError, ValueError):
            raise PydanticCustomError(EXPECTED, "must be {what}", {"what": what}) from None

    return WrapValidator(validate)
