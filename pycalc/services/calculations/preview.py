"""The preview of an expression: its canonical text, size and cost, without its value."""

from __future__ import annotations

from typing import NamedTuple

from pycalc.errors import ResultTooLarge
from pycalc.services.calculations.planning import Request
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Estimate, Summarisable
from pycalc.services.operations.expressions.expression import Expression
from pycalc.services.operations.expressions.operation import Evaluate

_EVALUATE = Evaluate(OPERATIONS)


class SummaryCall(NamedTuple):
    """A call of an operation that has summaries: its name and its operands."""

    operation: str
    input: dict[str, int | str]


class Preview(NamedTuple):
    """The canonical text of an expression, and the estimate for its value.

    If the expression is nothing but a call of an operation with summaries, ``call`` is that call. With
    ``view=summary``, it gives the first and last digits of the value. For any other expression, ``call`` is None.
    """

    expression: str
    estimate: Estimate
    call: SummaryCall | None


def make_preview(request: Request) -> Preview:
    """Return the preview of an evaluation; raises InvalidInput, DomainError and ResultTooLarge.

    ResultTooLarge is not raised if the expression is nothing but a call of an operation with summaries. The estimate is
    then that of the operation.
    """
    _, (text,), options = request
    expression = _EVALUATE.parse({"expression": text})
    try:
        estimate = _EVALUATE.estimate(expression, options.precision)
    except ResultTooLarge:
        call, of_call = _summarisable(expression)
        if of_call is None:
            raise
        return Preview(expression.text, of_call, call)
    call, _ = _summarisable(expression)
    return Preview(expression.text, estimate, call)


def _summarisable(expression: Expression) -> tuple[SummaryCall, Estimate] | tuple[None, None]:
    """Return the call and its estimate if the expression is nothing but a call of an operation with summaries.

    For any other expression, return ``(None, None)``.
    """
    found = _EVALUATE.call(expression)
    if found is None or not isinstance(OPERATIONS[found[0]], Summarisable):
        return None, None
    name, literals = found
    operation = OPERATIONS[name]
    names = [parameter.name for parameter in operation.parameters]
    args = operation.parse(dict(zip(names, literals, strict=True)))
    return SummaryCall(name, operation.input(args)), operation.estimate(args, operation.default_precision)
