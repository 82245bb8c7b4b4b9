"""The preview of an expression: its canonical text, size and cost, without its value."""

from __future__ import annotations

from typing import NamedTuple

from pycalc.errors import ResultTooLarge
from pycalc.services.calculations.planning import Request
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Estimate, Summarisable
from pycalc.services.operations.expressions.operation import Evaluate

_EVALUATE = Evaluate(OPERATIONS)


class Preview(NamedTuple):
    """The canonical text of an expression, and the estimate for its value.

    ``call`` is a calculation with the same value: an operation's name, and its operands by their names. A client can
    request its first and last digits (``view=summary``). It is set if the whole expression is one call of an operation
    with summaries, and the operands are exact, short and quickly computed. Otherwise, it is None. A power such as 2^100
    counts as a call of ``pow``.
    """

    expression: str
    estimate: Estimate
    call: tuple[str, dict[str, int | str]] | None


def make_preview(request: Request) -> Preview:
    """Return the preview of an evaluation; raises InvalidInput, DomainError and ResultTooLarge.

    If the value is too large, but the preview has a ``call`` for its first and last digits, ResultTooLarge is not
    raised. The preview then has the estimate of the called operation.
    """
    _, (text,), options = request
    expression = _EVALUATE.parse({"expression": text})
    failure: ResultTooLarge | None = None
    try:
        estimate = _EVALUATE.estimate(expression, options.precision)
    except ResultTooLarge as error:
        failure = error
    call = None
    found = _EVALUATE.call(expression)
    if found is not None and isinstance(OPERATIONS[found[0]], Summarisable):
        name, literals = found
        operation = OPERATIONS[name]
        names = [parameter.name for parameter in operation.parameters]
        args = operation.parse(dict(zip(names, literals, strict=True)))
        call = name, operation.input(args)
        if failure is not None:
            estimate = operation.estimate(args, operation.default_precision)
    elif failure is not None:
        raise failure
    return Preview(expression.text, estimate, call)
