"""Sums and products: their terms, a block at a time, and the sums of the values of polynomials.

A column is the list of a node's values for a block of values of the loop's variable. With a function written in C,
``map`` takes about 80 ns for each value of a column, where the interpreter takes about 500 ns to evaluate a node.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from operator import sub
from typing import Any

from pycalc.services.operations.expressions.arithmetic import Arithmetic
from pycalc.services.operations.expressions.nodes import (
    Chain,
    Constant,
    Exponentiation,
    Loop,
    Modulo,
    Negation,
    Node,
    Variable,
    children,
)
from pycalc.services.operations.expressions.sizes import FOLDED_BITS, Enclosed, Size
from pycalc.services.operations.expressions.values import Value, fraction, is_exact, lowest
from pycalc.services.operations.numbers.gmp import gmp, mpz

BLOCK = 256  # terms; a column of the longest values takes some 0.1 MB
LEAST_TERMS = 16  # a shorter loop is evaluated sooner than its sizes are found

Column = list[Value]
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": fraction,
    "//": operator.floordiv,
    "%": operator.mod,
}

_HUGE = 9  # 10^9 is above every degree that is used


def varying_nodes(loop: Loop) -> set[int]:
    """Return the ids of the nodes in a loop's body whose values may depend on the loop's variable."""
    found: set[int] = set()

    def varies(node: Node) -> bool:
        if isinstance(node, Variable):
            varying = node.name == loop.variable
        else:
            varying = max([False, *map(varies, children(node))])  # all children are visited
        if varying:
            found.add(id(node))
        return varying

    varies(loop.body)
    return found


def takes_columns(loop: Loop, varying: set[int], size: Callable[[Node], Size]) -> bool:
    """Return whether the terms of a loop can be computed in columns.

    ``varying`` must be the result of ``varying_nodes``, and ``size`` must hold for all values of the variable. Every
    part must be an exact number of at most FOLDED_BITS bits, made by operators that columns support. No inner loop may
    depend on the variable.
    """

    def fits(node: Node) -> bool:
        if isinstance(node, Loop) and id(node) in varying:
            return False
        own = size(node)
        if own.rounded is not Enclosed.NO or own.bits + own.places > FOLDED_BITS:
            return False
        if id(node) not in varying:
            return True
        if not all(map(fits, children(node))):
            return False
        sizes = [size(child) for child in children(node)]
        match node:
            case Chain():
                whole = not any(each.places for each in sizes) and all(step.operator != "/" for step in node.steps)
                short = sum(each.bits + each.places for each in sizes) <= FOLDED_BITS
                return short and (whole or all(step.operator not in ("//", "%") for step in node.steps))
            case Exponentiation():
                return not sizes[1].places and sizes[1].low is not None and sizes[1].low >= 0
            case Modulo():
                return not (sizes[0].places or sizes[1].places) and sizes[1].low is not None and sizes[1].low >= 1
        return True

    return fits(loop.body)


def joined(loop: Loop, column: Column) -> Value:
    """Return the sum or the product of a column, joined in a balanced tree. Raises TypeError if a term is not exact."""
    join = operator.add if loop.name == "sum" else operator.mul
    while len(column) > 1:
        rest = column[-1:] if len(column) % 2 else []
        column = [*map(join, column[::2], column[1::2]), *rest]
    value = lowest(column[0])
    if not is_exact(value):  # GMP returns floating-point numbers for some fractions, and one would make all inexact
        raise TypeError(f"a column has an inexact term: {value!r}")
    return value


@dataclass(frozen=True, slots=True)
class ValueColumns:
    """The columns of exact values for a block of a loop's terms. A division by zero raises ZeroDivisionError."""

    indices: Column  # the values of the variable
    varying: set[int]  # the ids of the nodes that depend on the variable
    size: Callable[[Node], Size]
    arithmetic: Arithmetic
    alone: Callable[[Node], Value]  # returns the value of a node that does not depend on the variable

    def of(self, node: Node) -> Column:
        """Return the column of a node's values."""
        if id(node) not in self.varying:
            return [self.alone(node)] * len(self.indices)
        operands = children(node)
        match node:
            case Variable():
                return self.indices
            case Negation(_, operand):
                column = list(map(operator.neg, self.of(operand)))
            case Chain():
                column = self.exact(node, len(node.steps))
            case Exponentiation():
                column = list(map(pow, *map(self.of, operands)))
            case Modulo():
                column = list(map(operator.mod, *map(self.of, operands)))
            case _:
                columns = map(self.of, operands)
                column = [self.arithmetic.value(node, values) for values in zip(*columns, strict=True)]
        # Whole numbers among fractions, such as some values of ``max(i, 9) / 2``, become integers.
        divides = isinstance(node, Chain) and any(step.operator == "/" for step in node.steps)
        if divides or any(self.size(operand).places for operand in operands):
            return list(map(lowest, column))
        return column

    def exact(self, node: Chain, steps: int) -> Column:
        """Return the column of the first ``steps`` steps of a chain. Whole numbers may have the type of fractions."""
        column, *operands = [self.of(operand) for operand in children(node)[: steps + 1]]
        for step, operand in zip(node.steps[:steps], operands, strict=True):
            column = list(map(OPERATORS[step.operator], column, operand))
        return column


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
