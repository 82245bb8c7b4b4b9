"""The cost of computing a tree's value, or its residue, estimated before anything is computed."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, inf
from operator import mul

from pycalc.services.operations.expressions import costs, nodes
from pycalc.services.operations.expressions.arithmetic import Arithmetic
from pycalc.services.operations.expressions.bounds import LARGEST_ARGUMENT, Bounds
from pycalc.services.operations.expressions.functions import LARGEST_PRIME
from pycalc.services.operations.expressions.loops import LEAST_TERMS, invariant_parts, shortcut
from pycalc.services.operations.expressions.nodes import BUILT_IN, Node, children, needs_value, tree
from pycalc.services.operations.expressions.problems import MOST_BITS, too_large
from pycalc.services.operations.expressions.sizes import (
    BITS_PER_DIGIT,
    FOLDED_BITS,
    Enclosed,
    Size,
    choose_euler,
    factored_bits,
    size_of,
)
from pycalc.services.operations.expressions.values import Value
from pycalc.services.operations.numbers.gmp import mpz
from pycalc.services.operations.numbers.literals import MAX_LITERAL
from pycalc.services.operations.numbers.modular import PRIME_BITS
from pycalc.services.operations.numbers.primes import totient

PRIME_SIZE = Size(None, None, PRIME_BITS)  # the size of a verification's prime
_MEMORY_PER_BIT = 0.4  # bytes for each bit of a value, with the copies that arithmetic makes
_CALL = 50  # a guess: a residue of a call costs as much as so many powers whose exponents have the argument's size
# The most bits of the number that stands for an unknown modulus when a call's residue is planned.
_MOST_PLANNED_BITS = 1 << 24
_PRIME_COFACTOR_BITS = 19.9  # a number below 10^6 without prime factors up to 1,000 is a prime or 1
_MOST_NESTED = 2  # nested loops up to this depth have their costs averaged over samples
_SAMPLED = 4  # terms whose denominators are compared
_SIMPSON = (1 / 12, 4 / 12, 2 / 12, 4 / 12, 1 / 12)


class Estimator:
    """A counter of the seconds and the memory that an evaluation takes.

    Each call of ``value`` or ``residue`` adds the cost of a node, with all nodes below it.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.seconds = 0.0  # on one core
        self.memory = 0.0  # bytes
        self.certain = True  # False once a cost depended on samples of a function or on guesses
        self.typical = inf  # the likely number of digits of the last loop, which may be far below its bound
        self._arithmetic = arithmetic
        # The sizes for all values of the loops' variables, by which an evaluation chooses its ways, and those for the
        # values that are sampled.
        self._ranges = self._sizes = Bounds(arithmetic)
        self._nested = 0  # loops around the current node whose costs are averaged over samples
        self._varying: set[int] | None = None  # in a loop that is computed in columns, the ids of its varying nodes

    def value(self, node: Node) -> Size:
        """Count the cost of a node's value, and return its size.

        Raises ResultTooLarge for a part that may be too large, and the errors of ``Bounds.of``.
        """
        if self._is_counted(node):
            return self._sizes.of(node)
        match node:
            case nodes.Chain(_, first, steps) if self._ranges.begins_with_residue(node):
                self.residue(first, self.value(steps[0].operand), inner=True)
                for step in steps[1:]:
                    self.value(step.operand)
            case nodes.Modulo(_, operand, modulus) if self._varying is None:
                self.residue(operand, self.value(modulus), inner=True)
            case nodes.Loop():
                self._loop(node)
            case _:
                for child in children(node):
                    self.value(child)
        size = self._sizes.of(node)
        self._check(node, size)
        self.seconds += self._sizes.seconds[id(node)]
        return size

    def _check(self, node: Node, size: Size) -> None:
        """Refuse a value, or an argument of a call, that may be too large. Count the memory of the value."""
        if isinstance(node, nodes.Call) and node.name not in BUILT_IN:
            arguments = list(map(self._sizes.of, node.arguments))
            self.certain &= all(each.value is not None for each in arguments)
            if any(each.low is None and each.bits > LARGEST_ARGUMENT for each in arguments):
                detail = f"An argument of {node.name} has at most {MAX_LITERAL:,} digits: make it smaller."
                raise too_large(node.position, detail, int(LARGEST_ARGUMENT))
        if isinstance(node, nodes.Exponentiation) and size.rounded and self._arithmetic.precision:
            self.certain = False  # the first enclosure imports FLINT
        if size.rounded is not Enclosed.YES:
            self.memory += (size.bits + size.places) * _MEMORY_PER_BIT
            if not size.bits + size.places <= MOST_BITS:
                raise too_large(node.position)

    def residue(self, node: Node, modulus: Size, *, inner: bool = False) -> Size:
        """Count the cost of a node's residue, and return the size of the modulus. Raises the errors of ``value``.

        ``inner`` is set for the left side of a ``mod`` or ``%``: if it is a call, the operation verifies the residue.
        """
        if self._is_counted(node):
            return modulus
        self.seconds += costs.RESIDUE if inner else 0.0
        digits = modulus.bits / BITS_PER_DIGIT
        match node:
            case nodes.Constant():
                self.seconds += costs.multiply(digits, digits)
            case nodes.Negation(_, operand):
                self.residue(operand, modulus)
            case nodes.Chain(_, first, steps) if not needs_value(node):
                self.residue(first, modulus)
                for step in steps:
                    self.residue(step.operand, modulus)
                    self.certain &= step.operator != "/"  # without an inverse, the value is computed in full
                    self.seconds += 3 * costs.multiply(digits, digits) if step.operator in "*/" else 0.0
            case nodes.Exponentiation():
                self._residue_of_power(node, modulus)
            case nodes.Loop():
                self._loop(node, modulus)
            case nodes.Call() if not needs_value(node):
                self._residue_of_call(node, modulus, inner=inner)
            case _:
                self.value(node)
                if isinstance(node, nodes.Modulo) and self._varying is None:
                    self.value(node)  # it is verified by two residues
        return modulus

    def _is_counted(self, node: Node) -> bool:
        """Return whether a node's cost is counted once for a whole loop. If not, count the interpreter's share."""
        if self._varying is not None and id(node) not in self._varying:
            return True
        self.seconds += costs.NODE if self._varying is None or isinstance(node, nodes.Call) else costs.COLUMN
        return False

    def _loop(self, node: nodes.Loop, modulus: Size | None = None) -> None:
        """Count the cost of a sum or a product, or of its residue modulo a number of the size ``modulus``.

        The cost of a term is the weighted mean of that for five values of the variable (Simpson's rule). If the range
        is not known, or if this loop is within two others, it is that of the largest sizes.
        """
        self.value(node.first)
        self.value(node.last)
        first, last = self._sizes.ends(node)
        terms = int((last.high - first.low) // 1) + 1
        if terms <= 0:
            return
        is_known = first.value is not None and last.value is not None
        ranges, sizes, depth = self._ranges, self._sizes, self._nested
        self._ranges, self._sizes = ranges.inside(node), sizes.inside(node)
        self.seconds += costs.LOOP
        self.certain &= is_known
        self.seconds += costs.SIZE * sum(1 for _ in tree(node.body)) if terms >= LEAST_TERMS else 0.0
        degree, varying = shortcut(node, self._ranges.of, terms)
        if varying is not None and (modulus is None or modulus.bits <= FOLDED_BITS):
            # Without certain bounds, the loop may be so short that its terms are evaluated one by one. It may also be
            # empty, so that a sample without a value must not raise an error.
            self._nested = depth if is_known else _MOST_NESTED
            once = sum(self._sample(part, modulus, self._sizes)[0] for part in invariant_parts(node.body, varying))
            self.seconds += once if is_known else once * LEAST_TERMS
            self._varying = varying
        self._nested = _MOST_NESTED
        # For the largest sizes, so that a part of any term that may be too large is refused.
        seconds, bits, places = self._sample(node.body, modulus, self._sizes)
        memory = self.memory
        join = costs.JOIN if self._varying is None else costs.COLUMN
        by_differences = (degree or 0) ** 2 * (costs.JOIN + costs.add(bits / BITS_PER_DIGIT))
        is_sampled = is_known and depth < _MOST_NESTED
        if is_sampled:
            self._nested = depth + 1
            indices = [first.low + (last.high - first.low) * quarter // 4 for quarter in range(5)]
            samples = [self._sample(node.body, modulus, sizes.inside(node, index)) for index in indices]
            seconds, bits, places = (sum(map(mul, _SIMPSON, each)) for each in zip(*samples, strict=True))
        self._ranges, self._sizes, self._nested, self._varying, self.memory = ranges, sizes, depth, None, memory
        self.seconds += (seconds + join) * terms if degree is None else seconds * (degree + 2) + by_differences
        if modulus is None:
            self.typical = inf
            if degree is None:
                self._joins(node, terms, bits, places, first.low if is_sampled else None)

    def _sample(self, node: Node, modulus: Size | None, sizes: Bounds) -> tuple[float, float, float]:
        """Return the seconds for a part of a loop, and the bits of its numerator and denominator. Do not count them."""
        before, self._sizes = self.seconds, sizes
        size = self.residue(node, modulus) if modulus else self.value(node)
        seconds, self.seconds = self.seconds - before, before
        return seconds, size.bits, size.places

    def _joins(self, node: nodes.Loop, terms: int, bits: float, places: float, first: Value | None) -> None:
        """Count the cost to add or multiply terms of these mean sizes. ``first`` is the first index, if it is known."""
        is_nested = False
        if node.name == "sum" and places and first is not None and terms > _SAMPLED:
            # In the first terms, each denominator may be a multiple of the one before, as in 1/2^i.
            values = [self._sizes.inside(node, first + step).of(node.body).value for step in range(1, _SAMPLED + 1)]
            is_nested = None not in values and all(b.denominator % a.denominator == 0 for a, b in pairwise(values))
        self.typical = max(1.0, (bits + places) * (1 if is_nested else terms) / BITS_PER_DIGIT)
        size = self._sizes.of(node)
        if size.bits + size.places <= MOST_BITS:
            digits = bits * terms / BITS_PER_DIGIT, places * terms / BITS_PER_DIGIT
            self.seconds += costs.joined(node.name, terms, *digits, is_nested=is_nested)

    def _residue_of_power(self, node: nodes.Exponentiation, modulus: Size) -> None:
        self.seconds += costs.PEEK if not self._nested else 0.0  # a loop counts the time to find the sizes itself
        exponent = self._ranges.of(node.exponent)
        if exponent.places:
            self.value(node)
            return
        self.residue(node.base, modulus)
        bits = modulus.bits
        if not choose_euler(node.exponent.position, exponent, modulus):
            size = self.value(node.exponent)
            self.seconds += costs.residue_of_power(size.bits, bits)
            return
        self.seconds += costs.factor(factored_bits(modulus)) + costs.residue_of_power(bits, bits)
        self.certain = False  # the first factorization imports FLINT
        # The totient is computed if it needs no large factorization, or if the cost of a call depends on it. Each
        # further totient is shorter, because totients have more and more small factors.
        has_call = any(isinstance(each, nodes.Call) for each in tree(node.exponent))
        if modulus.value is not None and (has_call or factored_bits(modulus) <= _PRIME_COFACTOR_BITS):
            order = size_of(mpz(totient(int(modulus.value))))
        else:
            order = Size(None, None, 0.85 * bits)
        self.residue(node.exponent, order)

    def _residue_of_call(self, node: nodes.Call, modulus: Size, *, inner: bool) -> None:
        sizes = [self.value(argument) for argument in node.arguments]
        values = [size.value for size in sizes]
        if not all(value is not None for value in values):
            self.certain = False
            self.seconds += sum(costs.residue_of_power(64 + size.bits, modulus.bits) for size in sizes) * _CALL
            return
        # An unknown modulus is taken as the largest of its size; for a verification, that is the prime 2^61 - 1.
        # If it is very long, a shorter one is planned, and the cost is taken to grow with the length.
        bits = min(modulus.bits, MOST_BITS)
        longer = max(1.0, bits / _MOST_PLANNED_BITS)
        number = (1 << ceil(bits / longer)) - 1 if modulus.value is None else int(modulus.value)
        function = self._arithmetic.functions[node.name]
        plan = function.residue_plan(node.position, values, max(1, number))
        seconds = plan.seconds * longer
        self.seconds += seconds
        self.memory += plan.memory * longer
        if inner or modulus is PRIME_SIZE:  # otherwise, it is verified modulo a prime
            return
        if function.is_long_modulo_prime(node.position, values):
            # The residue is computed twice more. If it has over 1,000 digits, a larger modulus verifies it.
            self.seconds += 4 * seconds + costs.LONG_CALL
            return
        plan = function.residue_plan(node.position, values, LARGEST_PRIME)
        self.seconds += plan.seconds
        self.memory += plan.memory
