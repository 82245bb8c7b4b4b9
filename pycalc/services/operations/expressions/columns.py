"""The terms of a sum or a product, a block at a time.

A column is the list of a node's values for a block of values of the loop's variable. With a function written in C,
``map`` takes about 80 ns for each value of a column, where the interpreter takes about 500 ns to evaluate a node.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pycalc.services.operations.expressions.arithmetic import Arithmetic
from pycalc.services.operations.expressions.nodes import (
    Chain,
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
