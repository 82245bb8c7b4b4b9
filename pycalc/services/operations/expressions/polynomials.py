"""Sums of the values of a polynomial, from a few of its values (Newton's forward differences)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from operator import sub

from pycalc.services.operations.expressions.nodes import Chain, Constant, Exponentiation, Loop, Negation, Node, Variable
from pycalc.services.operations.expressions.sizes import Enclosed, Size
from pycalc.services.operations.expressions.values import Value, lowest
from pycalc.services.operations.numbers.gmp import gmp, mpz

_HUGE = 9  # 10^9 is above every degree that is used


def polynomial_degree(loop: Loop, varying: set[int], size: Callable[[Node], Size], terms: int) -> int | None:
    """Return an upper bound for the degree of a sum's body as a polynomial in the variable.

    The body must be made of the variable, and of exact values that do not depend on it, by these operators: ``+``,
    ``-`` (also as a sign), ``*``, ``/`` with a divisor that does not depend on the variable, and ``^`` with a literal
    exponent, which is a whole number above 0. Return None for any other body, for a ``prod``, and for a bound above the
    square root of ``terms``. ``varying`` has the ids of the nodes that depend on the variable.
    """
    if loop.name != "sum":
        return None

    def degree(node: Node) -> float:
        if id(node) not in varying:
            return 0 if size(node).rounded is Enclosed.NO else inf
        match node:
            case Variable():
                return 1
            case Negation(_, operand):
                return degree(operand)
            case Chain(_, first, steps):
                found = degree(first)
                for step in steps:
                    right = degree(step.operand)
                    if step.operator in ("//", "%") or (step.operator == "/" and id(step.operand) in varying):
                        return inf
                    found = max(found, right) if step.operator in "+-" else found + right
                return found
            case Exponentiation(_, base, Constant(_, literal)) if literal.is_integer and literal.unscaled > 0:
                power = literal.unscaled * 10 ** min(literal.exponent, _HUGE)
                return degree(base) * float(min(power, 10**_HUGE))  # a literal may be too large for a float
        return inf

    found = degree(loop.body)
    return int(found) if found * found <= terms else None  # for a higher degree, adding up all terms is faster


def polynomial_sum(values: Sequence[Value], terms: int) -> Value:
    """Return f(0) + f(1) + ... + f(``terms`` - 1) for a polynomial f, from ``values`` = f(0), f(1), ..., f(d).

    The degree of f must be at most d. The sum is that of the differences of order k at 0, each multiplied by the
    binomial coefficient of ``terms`` and k + 1.
    """
    result, differences = mpz(0), list(values)
    for order in range(1, len(values) + 1):
        result += differences[0] * gmp.bincoef(terms, order)
        differences = list(map(sub, differences[1:], differences))
    return lowest(result)
