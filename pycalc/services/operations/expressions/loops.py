"""Sums and products: their terms, a block at a time, and the sums of the values of polynomials.

A column is the list of a node's values for a block of terms. With a function written in C, ``map`` takes about 80 ns
for each value of a column, where the interpreter takes about 500 ns to evaluate a node.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from math import inf
from operator import sub
from typing import TYPE_CHECKING

from pycalc.services.operations.expressions import nodes
from pycalc.services.operations.expressions.arithmetic import OPERATORS
from pycalc.services.operations.expressions.nodes import Node, children, needs_value
from pycalc.services.operations.expressions.sizes import FOLDED_BITS, Enclosed, Size
from pycalc.services.operations.expressions.values import Value, is_exact, is_whole, lowest, residue_of
from pycalc.services.operations.numbers.gmp import gmp, mpz

if TYPE_CHECKING:
    from pycalc.services.operations.expressions.evaluation import Evaluator
    from pycalc.services.operations.expressions.residues import Residues

BLOCK = 256  # terms; a column of the longest values takes some 0.1 MB
LEAST_TERMS = 16  # a shorter loop is evaluated sooner than its sizes are found

Column = list[Value]


def varying_nodes(loop: nodes.Loop) -> set[int]:
    """Return the ids of the nodes in a loop's body whose values may depend on the loop's variable."""
    found: set[int] = set()

    def varies(node: Node) -> bool:
        below = sum(map(varies, children(node)))  # all children are visited
        if below or (isinstance(node, nodes.Variable) and node.name == loop.variable):
            found.add(id(node))
        return id(node) in found

    varies(loop.body)
    return found


def invariant_parts(node: Node, varying: set[int]) -> list[Node]:
    """Return the largest parts of a tree that do not depend on the loop's variable."""
    if id(node) not in varying:
        return [node]
    return [part for child in children(node) for part in invariant_parts(child, varying)]


def shortcut(loop: nodes.Loop, size: Callable[[Node], Size], terms: int) -> tuple[int | None, set[int] | None]:
    """Return how a loop's terms are computed together: a degree for ``polynomial_sum``, or ids for ``Columns``.

    (None, None) means that they are computed one by one. ``size`` must hold for all values of the variable.
    """
    if terms < LEAST_TERMS:
        return None, None
    varying = varying_nodes(loop)
    degree = polynomial_degree(loop, varying, size, terms)
    return degree, varying if degree is None and takes_columns(loop, varying, size) else None


def takes_columns(loop: nodes.Loop, varying: set[int], size: Callable[[Node], Size]) -> bool:
    """Return whether the terms of a loop can be computed in columns.

    Every part must be exact, have at most FOLDED_BITS bits, and not be an inner loop that depends on the variable.
    """

    def is_from(part: Size, least: int) -> bool:
        return not part.places and part.low is not None and part.low >= least

    def fits(node: Node) -> bool:
        if isinstance(node, nodes.Loop) and id(node) in varying:
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
            case nodes.Chain():
                signs = {step.operator for step in node.steps}
                whole = "/" not in signs and not any(each.places for each in sizes)
                short = sum(each.bits + each.places for each in sizes) <= FOLDED_BITS
                return short and (whole or signs.isdisjoint(("//", "%")))
            case nodes.Exponentiation():
                return is_from(sizes[1], 0)
            case nodes.Modulo():
                return not sizes[0].places and is_from(sizes[1], 1)
        return True

    return fits(loop.body)


class Columns:
    """The columns of a loop's body, for one block of terms after the other. ``shortcut`` returns ``varying``."""

    def __init__(self, varying: set[int], evaluator: Evaluator) -> None:
        self._varying = varying
        self._evaluator = evaluator
        self._invariants: dict[tuple[int, bool], Value] = {}
        self._indices: Column = []

    def joined(self, loop: nodes.Loop, indices: range, residues: Residues | None) -> Value:
        """Return the sum or the product of the terms, or of their residues, joined in a balanced tree.

        Raises ZeroDivisionError for a division by zero, and for a divisor that has no inverse.
        """
        self._indices = list(map(mpz, indices))
        join = operator.add if loop.name == "sum" else operator.mul
        column = self._of(loop.body, residues)
        while len(column) > 1:
            rest = column[-1:] if len(column) % 2 else []
            column = [*map(join, column[::2], column[1::2]), *rest]
        value = lowest(column[0])
        if not is_exact(value):  # GMP returns floating-point numbers for some fractions, and one would make all inexact
            raise TypeError(f"a column has an inexact term: {value!r}")
        return value

    def _of(self, node: Node, residues: Residues | None = None) -> Column:
        """Return the column of a node's values or, with ``residues``, of its residues."""
        if id(node) not in self._varying:
            key = id(node), residues is None
            if key not in self._invariants:
                self._invariants[key] = residues.of(node) if residues else self._evaluator.value(node)
            return [self._invariants[key]] * len(self._indices)
        if residues and needs_value(node):
            return list(map(residue_of, self._of(node), repeat(residues.modulus)))
        column = self._operation(node, residues)
        # Whole numbers among fractions, such as some values of ``max(i, 9) / 2``, become integers.
        divides = isinstance(node, nodes.Chain) and any(step.operator == "/" for step in node.steps)
        if not residues and (divides or any(self._evaluator.bounds.of(operand).places for operand in children(node))):
            return list(map(lowest, column))
        return column

    def _operation(self, node: Node, residues: Residues | None) -> Column:
        modulus = residues.modulus if residues else None
        match node:
            case nodes.Negation(_, operand):
                return self._reduced(map(operator.neg, self._of(operand, residues)), modulus)
            case nodes.Chain(_, first, steps):
                column = self._of(first, residues)
                for step in steps:
                    join, operands = OPERATORS[step.operator], self._of(step.operand, residues)
                    if residues and step.operator == "/":
                        join, operands = operator.mul, list(map(residues.inverse, operands))
                    column = self._reduced(map(join, column, operands), modulus)
                return column
            case nodes.Exponentiation(_, base, exponent):
                return list(map(pow, self._of(base, residues), self._of(exponent), repeat(modulus)))
            case nodes.Modulo(_, operand, divisor):
                return list(map(operator.mod, self._of(operand), self._of(divisor)))
            case nodes.Call(_, _, arguments):
                call = residues.of_call if residues else self._evaluator.arithmetic.value
                return [call(node, row) for row in zip(*map(self._of, arguments), strict=True)]
        return self._indices

    def _reduced(self, column: Iterable[Value], modulus: Value | None) -> Column:
        return list(column if modulus is None else map(operator.mod, column, repeat(modulus)))


def polynomial_degree(loop: nodes.Loop, varying: set[int], size: Callable[[Node], Size], terms: int) -> int | None:
    """Return an upper bound for the degree of a sum's body as a polynomial in the variable.

    The body must be made of the variable, and of exact values that do not depend on it, by ``+``, ``-``, ``*``, ``/``
    with a divisor that does not depend on the variable, and ``^`` with an exponent that is known to be a whole number
    above 0. Return None for any other body, for a ``prod``, and for a bound above the square root of ``terms``.
    """
    if loop.name != "sum":
        return None

    def degree(node: Node) -> float:
        if id(node) not in varying:
            return 0 if size(node).rounded is Enclosed.NO else inf
        match node:
            case nodes.Variable():
                return 1
            case nodes.Negation(_, operand):
                return degree(operand)
            case nodes.Chain(_, first, steps):
                found = degree(first)
                for step in steps:
                    right = degree(step.operand)
                    if step.operator in ("//", "%") or (step.operator == "/" and id(step.operand) in varying):
                        return inf
                    found = max(found, right) if step.operator in "+-" else found + right
                return found
            case nodes.Exponentiation(_, base, exponent) if size(exponent).value is not None:
                power = size(exponent).value
                return degree(base) * int(power) if is_whole(power) and 0 < power <= terms else inf
        return inf

    found = degree(loop.body)
    return int(found) if found * found <= terms else None  # for a higher degree, adding up all terms is faster


def polynomial_sum(values: Sequence[Value], terms: int) -> Value:
    """Return f(0) + f(1) + ... + f(``terms`` - 1) for a polynomial f, from ``values`` = f(0), f(1), ..., f(d).

    The degree of f must be at most d. The sum is that of the differences of order k at 0 times binomial(terms, k + 1).
    """
    result, differences = mpz(0), list(values)
    for order in range(1, len(values) + 1):
        result += differences[0] * gmp.bincoef(terms, order)
        differences = list(map(sub, differences[1:], differences))
    return lowest(result)
