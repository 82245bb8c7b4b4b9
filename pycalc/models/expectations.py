"""Sentences for input that is not valid: each field says what it expects, in place of the validator's phrases."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

EXPECTED = "expected"
"""The type of the validation error of a field that is not as expected; its context says ``what`` is."""


def expected(what: str) -> WrapValidator:
    """Return an annotation: whatever is wrong with the value, the message is "must be ``what``".

    It stands last, behind the constraints that it describes.
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except (ValidationError, ValueError):
            raise PydanticCustomError(EXPECTED, "must be {what}", {"what": what}) from None

    return WrapValidator(validate)
