"""Parsing of the body of ``POST /evaluate``."""

from __future__ import annotations

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.json_text import number_literal, pointer_step, read_json, shown
from pycalc.services.calculations.planning import Request, options_of
from pycalc.services.operations import CALCULATIONS

_EVALUATE = CALCULATIONS["evaluate"]


class _Number(str):
    """The text of a number in a JSON body."""


def read_evaluation(body: bytes) -> Request:
    """Return the request in the body of ``POST /evaluate``. Raises InvalidInput with JSON pointers.

    Numbers are read as strings, so that they keep all their digits.
    """
    document = read_json(body, lambda number: _Number(number_literal(number)))
    if not isinstance(document, dict):
        raise InvalidInput.of(FieldProblem("", 'The body must be {"expression": "..."}, with an optional precision.'))
    expression = document.pop("expression", None)
    if not isinstance(expression, str) or isinstance(expression, _Number):
        detail = 'expression must be a string such as "3^(10^12) mod 10^20".'
        raise InvalidInput.of(FieldProblem("/expression", detail))
    wrong = [name for name, value in document.items() if not isinstance(value, _Number)]
    if wrong:
        problems = (FieldProblem(pointer_step(name), f"{shown(name)} must be a number.") for name in wrong)
        raise InvalidInput.of(*problems)
    return _EVALUATE.name, (expression,), options_of(_EVALUATE, document)
