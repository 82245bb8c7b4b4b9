"""The value of a tree: exact, or an enclosure of an irrational value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pycalc.services.operations.expressions import nodes
from pycalc.services.operations.expressions.arithmetic import Arithmetic, number, require_modulus
from pycalc.services.operations.expressions.bounds import MOST_TERMS, Bounds
from pycalc.services.operations.expressions.loops import BLOCK, Columns, polynomial_sum, shortcut
from pycalc.services.operations.expressions.nodes import Node, children
from pycalc.services.operations.expressions.problems import too_large, undefined
from pycalc.services.operations.expressions.residues import NotInvertibleError, Residues
from pycalc.services.operations.expressions.sizes import FOLDED_BITS, range_of
from pycalc.services.operations.expressions.values import Value, is_whole
from pycalc.services.operations.numbers.gmp import mpz

FALLBACK_BITS = 1_000_000  # if a divisor has no inverse, a value up to this size is computed in full


class DisagreementError(Exception):
    """A residue in the tree differs from an independent computation of the same residue."""


class Evaluator:
    """An evaluator for one evaluation of a tree, which holds the values of the loops' variables.

    ``prime`` is 0, or the prime of a verification: then each residue modulo m in the tree, except that of a call, is
    computed modulo m·``prime``, and must agree modulo ``prime`` with an independent computation.
    """

    def __init__(self, arithmetic: Arithmetic, prime: int = 0) -> None:
        self.arithmetic = arithmetic
        self.bounds = Bounds(arithmetic)  # for all values of the loops' variables
        self._prime = prime
        self._variables: dict[str, Value] = {}
        self._numbers: dict[int, Value] = {}  # the values of literals, by node, because a loop needs them in each term
        self._special: Mapping[type, Callable[[Any], Value]] = {
            nodes.Constant: self._number,
            nodes.Variable: lambda node: self._variables[node.name],
            nodes.Loop: self._loop,
            nodes.Modulo: self._modulo,
            nodes.Chain: self._chain,
        }

    def value(self, node: Node) -> Value:
        """Return a node's value. Raises the errors of ``Arithmetic.value``.

        With a ``prime``, also raises DisagreementError if the verification of a residue fails, and ZeroDivisionError if
        the prime divides a denominator.
        """
        special = self._special.get(type(node))
        if special is not None:
            return special(node)
        return self.arithmetic.value(node, [self.value(child) for child in children(node)])

    def terms(self, node: nodes.Loop, residues: Residues | None = None) -> Iterator[Value]:
        """Yield the terms of a loop, or of blocks of them the sum or the product; with ``residues``, their residues.

        Raises DomainError for bounds that are not whole numbers and for too many terms, and the errors of ``value``.
        """
        first, last = self.value(node.first), self.value(node.last)
        if not (is_whole(first) and is_whole(last)):
            raise undefined(node.position, f"The bounds of {node.name} must be whole numbers.")
        if last - first >= MOST_TERMS:
            raise undefined(node.position, f"This {node.name} has too many terms: at most {MOST_TERMS:,} are computed.")
        if last < first:
            return
        outer, value = self.bounds, self._variables.get(node.variable)
        self.bounds = outer.within(node.variable, range_of(first, last))
        try:
            yield from self._terms(node, range(int(first), int(last) + 1), residues)
        finally:  # an outer loop may have a variable of the same name
            self.bounds, self._variables[node.variable] = outer, value

    def _terms(self, node: nodes.Loop, indices: range, residues: Residues | None) -> Iterator[Value]:
        degree, varying = shortcut(node, self.bounds.of, len(indices))
        if degree is not None:
            # A verification takes the last few terms, and one more, so that the sums differ if the degree is too low.
            backward = residues is not None and residues.verifying
            points = indices[: -degree - 3 : -1] if backward else indices[: degree + 1]
            yield polynomial_sum(list(self._single(node, points, residues)), len(indices))
            return
        is_short = residues is None or residues.modulus.bit_length() <= FOLDED_BITS
        columns = Columns(varying, self) if is_short and varying is not None else None
        for start in range(0, len(indices), BLOCK):
            block = indices[start : start + BLOCK]
            if columns:
                with suppress(ZeroDivisionError):  # evaluating single terms raises the error with its position
                    yield columns.joined(node, block, residues)
                    continue
            yield from self._single(node, block, residues)

    def _single(self, node: nodes.Loop, indices: range, residues: Residues | None) -> Iterator[Value]:
        evaluate = residues.of if residues else self.value
        for index in indices:
            self._variables[node.variable] = mpz(index)
            yield evaluate(node.body)

    def _number(self, node: nodes.Constant) -> Value:
        value = self._numbers.get(id(node))
        if value is None:
            value = self._numbers[id(node)] = number(node.position, node.value)
        return value

    def _loop(self, node: nodes.Loop) -> Value:
        position, sign, join = node.position, "+" if node.name == "sum" else "*", self.arithmetic.step
        # What ``terms`` yields is joined in a balanced tree, so that few operations have large operands. A part is a
        # level and the joined value of 2^level items. The highest level comes first.
        parts: list[tuple[int, Value]] = []
        for term in self.terms(node):
            level, value = 0, term
            while parts and parts[-1][0] == level:
                value = join(position, sign, parts.pop()[1], value)
                level += 1
            parts.append((level, value))
        result = mpz(node.name == "prod")
        for _, value in reversed(parts):
            result = join(position, sign, value, result)
        return result

    def _chain(self, node: nodes.Chain) -> Value:
        """Return a chain's value. If it begins with ``a % m`` for a large whole ``a``, do not compute ``a`` itself."""
        steps = node.steps
        if self.bounds.begins_with_residue(node):
            value, steps = self._residue(steps[0].position, node.first, self.value(steps[0].operand)), steps[1:]
        else:
            value = self.value(node.first)
        for step in steps:
            value = self.arithmetic.step(step.position, step.operator, value, self.value(step.operand))
        return value

    def _modulo(self, node: nodes.Modulo) -> Value:
        modulus = self.value(node.modulus)
        require_modulus(node.position, modulus)
        return self._residue(node.position, node.operand, modulus)

    def _residue(self, position: int, node: Node, modulus: Value) -> Value:
        try:
            if isinstance(node, nodes.Call) and node.name in self.arithmetic.functions:
                # The operation verifies this residue itself, because one modulo a large prime may take far longer.
                function, operands = self.arithmetic.functions[node.name], list(map(self.value, node.arguments))
                return function.residue(node.position, operands, int(modulus), verified=True)
            if not self._prime:
                return Residues(self, modulus).of(node)
            modulus = int(modulus)
            wider = Residues(self, modulus, self._prime, verified=modulus).of(node)
            if wider % self._prime != Residues(self, self._prime, verifying=True, verified=modulus).of(node):
                raise DisagreementError
            return wider % modulus
        except NotInvertibleError:
            size = self.bounds.of(node)
        if size.bits + size.places > FALLBACK_BITS:
            detail = (
                "A divisor shares a factor with the modulus, so the number must be computed without mod, but it is too "
                "large: choose another modulus."
            )
            raise too_large(position, detail, FALLBACK_BITS)
        value = self.value(node)
        try:
            return Residues(self, modulus).of_value(position, value)
        except NotInvertibleError:
            detail = "The denominator shares a factor with the modulus: there is no residue."
            raise undefined(position, detail) from None
