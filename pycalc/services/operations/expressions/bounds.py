"""Bounds of the values in a tree, found before these are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import ceil, inf, log2

from pycalc.errors import DomainError
from pycalc.services.operations.expressions import costs, nodes
from pycalc.services.operations.expressions.arithmetic import (
    DIVISION_BY_ZERO,
    IRRATIONAL,
    Arithmetic,
    number,
    require_modulus,
)
from pycalc.services.operations.expressions.loops import polynomial_degree, varying_nodes
from pycalc.services.operations.expressions.nodes import BUILT_IN, Node, children
from pycalc.services.operations.expressions.problems import MOST_BITS, undefined
from pycalc.services.operations.expressions.sizes import (
    BITS_PER_DIGIT,
    FOLDED_BITS,
    MARGIN,
    MOST_DIRECT_BITS,
    STEPS,
    Enclosed,
    Size,
    log2_of,
    range_of,
    rounded_of,
    size_of,
)
from pycalc.services.operations.expressions.values import Value, is_whole, residue_of
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.literals import MAX_LITERAL

_FOLDED_SECONDS = 5e-5
LARGEST_ARGUMENT = (MAX_LITERAL - 1) * BITS_PER_DIGIT  # the most bits of an argument: operations read it as a literal
MOST_TERMS = 1_000_000  # the most terms of a sum or a product


class Bounds:
    """The sizes of a tree's values, for given sizes of its variables, and the seconds of each node's own operation.

    Only small values are computed. A node's size holds for all values of the variables.
    """

    def __init__(self, arithmetic: Arithmetic, variables: Mapping[str, Size] | None = None) -> None:
        self._arithmetic = arithmetic
        self._variables = variables or {}
        self._found: dict[int, Size] = {}
        self.seconds: dict[int, float] = {}  # to compute a node's value from its operands, except for a loop; by id
        self._inside: dict[int, Bounds] = {}  # by the id of the loop
        self._own = 0.0  # the seconds of the node whose size is being found, without those of its operands

    def within(self, variable: str, size: Size) -> Bounds:
        """Return the bounds for a loop's body, whose variable has the given size."""
        return Bounds(self._arithmetic, {**self._variables, variable: size})

    def inside(self, loop: nodes.Loop, index: Value | None = None) -> Bounds:
        """Return the bounds for a loop's body, for one index or for all of them. The loop must not be empty."""
        if index is not None:  # not kept, because those of nested loops would take hundreds of megabytes
            return self.within(loop.variable, size_of(index))
        if id(loop) not in self._inside:
            first, last = self.ends(loop)
            self._inside[id(loop)] = self.within(loop.variable, range_of(first.low, last.high))
        return self._inside[id(loop)]

    def of(self, node: Node) -> Size:
        """Return the size of a node's value.

        Raises DomainError if it is certain that there is no value, and for a loop that may have too many terms.
        """
        found = self._found.get(id(node))
        if found is not None:
            return found
        sizes = list(map(self.of, children(node)[: 2 if isinstance(node, nodes.Loop) else None]))  # not the loop's body
        self._own = 0.0
        match node:
            case nodes.Constant():
                size = self._number(node)
            case nodes.Variable():
                size = self._variables[node.name]
            case nodes.Loop():
                size = self._loop(node)
            case nodes.Modulo():
                size = self._modulo(node, *sizes)
            case _:
                size = self._operation(node, sizes)
                if size.bits + size.places <= FOLDED_BITS:
                    size = size_of(size.value) if size.value is not None else self._folded(node, sizes) or size
        self._found[id(node)], self.seconds[id(node)] = size, self._own
        return size

    def begins_with_residue(self, node: nodes.Chain) -> bool:
        """Return whether a chain begins with ``a % m``, and ``a`` itself is not computed, but its residue.

        This is so if ``a`` may have over MOST_DIRECT_BITS bits, both are whole and exact, and ``m`` certainly positive.
        """
        (_, operator, operand), *_ = node.steps
        if operator != "%":
            return False
        size, modulus = self.of(node.first), self.of(operand)
        whole = not (size.places or size.rounded or modulus.places or modulus.rounded)
        return size.bits > MOST_DIRECT_BITS and whole and modulus.least > -inf and modulus.bits <= MOST_BITS

    def ends(self, loop: nodes.Loop) -> tuple[Size, Size]:
        """Return the sizes of a loop's first and last index, which have bounds.

        Raises DomainError if one of them is not a whole number, or if there may be too many terms.
        """
        first, last = self.of(loop.first), self.of(loop.last)
        for end in (first, last):
            if end.value is not None and not is_whole(end.value):
                raise undefined(loop.position, f"The bounds of {loop.name} must be whole numbers.")
        if first.low is None or last.high is None or last.high - first.low >= MOST_TERMS:
            detail = f"This {loop.name} may have too many terms: at most {MOST_TERMS:,} are added or multiplied."
            raise undefined(loop.position, detail)
        return first, last

    def _number(self, node: nodes.Constant) -> Size:
        unscaled, exponent = node.value.unscaled, node.value.exponent
        bits = (log2_of(unscaled) + max(0, exponent) * BITS_PER_DIGIT) * MARGIN
        places = max(0, -exponent) * BITS_PER_DIGIT * MARGIN
        if bits + places <= FOLDED_BITS * 10:
            return size_of(number(node.position, node.value))
        self._own = costs.power(max(bits, places) / BITS_PER_DIGIT)
        return Size(None, None, bits, places, bits / MARGIN**2 - places)

    def _loop(self, node: nodes.Loop) -> Size:
        first, last = self.ends(node)
        terms = int((last.high - first.low) // 1) + 1
        if terms <= 0:
            return size_of(mpz(node.name == "prod"))
        inner = self.inside(node)
        size = inner.of(node.body)
        places, low, high = size.places * terms, None, None
        if node.name == "prod":
            return Size(None, None, size.bits * terms, places, rounded=size.rounded)
        # All values of a polynomial can be written with one denominator, the product of those in its coefficients.
        if places and polynomial_degree(node, varying_nodes(node), inner.of, terms) is not None:
            places = size.places
        if size.low is not None:
            low, high = min(terms * size.low, mpz(0)), max(terms * size.high, mpz(0))
        return Size(low, high, size.bits + places + log2(terms), places, rounded=size.rounded)

    def _modulo(self, node: nodes.Modulo, operand: Size, modulus: Size) -> Size:
        if modulus.value is not None:
            require_modulus(node.position, modulus.value)
            if operand.value is not None and gmp.gcd(operand.value.denominator, modulus.value) == 1:
                return size_of(residue_of(operand.value, modulus.value))
        return modulus.residue

    def _operation(self, node: Node, sizes: Sequence[Size]) -> Size:
        match node:
            case nodes.Negation():
                return sizes[0].negated()
            case nodes.Exponentiation():
                return self._power(*sizes)
            case nodes.Call():
                return self._call(node, sizes)
            case nodes.Comparison():
                return Size(None, None, 1)
            case nodes.Chain():
                size = sizes[1].residue if self.begins_with_residue(node) else sizes[0]
                for step, operand in zip(node.steps, sizes[1:], strict=True):
                    self._own += costs.step(step.operator, self._digits(size), self._digits(operand))
                    if rounded_of(size, operand) is Enclosed.YES:
                        self._own += costs.ENCLOSE
                    if operand.value == 0 and step.operator not in "+-*":
                        raise undefined(step.position, DIVISION_BY_ZERO)
                    size = STEPS[step.operator](size, operand)
                return size
        raise TypeError(f"{type(node).__name__} is no operation")

    def _folded(self, node: Node, sizes: Sequence[Size]) -> Size | None:
        """Return the size of a node by computing its value, or a bound for an irrational power.

        Return None if an operand is unknown, if the computation is slow, or if the value is not a number.
        """
        values = [size.value for size in sizes]
        if None in values or isinstance(node, nodes.Comparison):
            return None
        function = self._arithmetic.functions.get(node.name) if isinstance(node, nodes.Call) else None
        if function and (not function.signature.numeric or self._own > _FOLDED_SECONDS):
            return None
        if not isinstance(node, nodes.Exponentiation):
            return size_of(self._arithmetic.value(node, values))
        power = self._arithmetic.exact_power(node.position, *values)
        if power is not None:
            return size_of(power)
        if not self._arithmetic.precision:
            raise undefined(node.position, IRRATIONAL)
        base, exponent = values
        return Size(None, None, max(1.0, log2_of(base) * float(exponent) * MARGIN), rounded=Enclosed.YES)

    def _digits(self, size: Size) -> tuple[float, float]:
        """Return the digits of a value's numerator and denominator: for an enclosure, the precision and 0."""
        if size.rounded is Enclosed.YES:
            return self._arithmetic.precision, 0.0
        return size.bits / BITS_PER_DIGIT, size.places / BITS_PER_DIGIT

    def _power(self, base: Size, exponent: Size) -> Size:
        size = base.power(exponent)
        if size.rounded is not Enclosed.YES and size.bits + size.places <= MOST_BITS:
            self._own += costs.power((size.bits + size.places) / BITS_PER_DIGIT)
        if size.rounded:
            self._own += costs.root((base.bits + base.places) / BITS_PER_DIGIT)
            if self._arithmetic.precision:
                square_root = exponent.value is not None and exponent.value.denominator == 2
                self._own += costs.enclosed(self._arithmetic.precision, square_root=square_root)
        return size

    def _call(self, node: nodes.Call, sizes: Sequence[Size]) -> Size:
        first = sizes[0]
        if node.name == "abs":
            return first._replace(low=None, high=None) if first.value is None else size_of(abs(first.value))
        if node.name in ("min", "max"):
            pick = min if node.name == "min" else max
            lows, highs = [size.low for size in sizes], [size.high for size in sizes]
            known = all(low is not None for low in lows)
            low, high = (pick(lows), pick(highs)) if known else (None, None)
            bits, places = max(size.bits for size in sizes), max(size.places for size in sizes)
            return Size(low, high, bits, places, min(size.least for size in sizes), rounded_of(*sizes))
        if node.name in BUILT_IN:
            self._own += costs.divide(first.bits / BITS_PER_DIGIT, first.places / BITS_PER_DIGIT)
            if first.rounded is Enclosed.YES:  # all digits before the point are computed
                self._own += 2 * costs.ENCLOSE + costs.enclosed(first.bits / BITS_PER_DIGIT)
            return first.whole()
        digits, seconds, least = self._largest_call(node, sizes)
        self._own += seconds + costs.text(digits)
        return Size(None, None, digits * BITS_PER_DIGIT, least=least * BITS_PER_DIGIT / MARGIN if least else -inf)

    def _largest_call(self, node: nodes.Call, sizes: Sequence[Size]) -> tuple[float, float, float]:
        """Return a call's digits, seconds and ``least``. For unknown arguments, these come from samples."""
        function = self._arithmetic.functions[node.name]
        if all(size.value is not None for size in sizes):
            estimate = function.estimate(node.position, [size.value for size in sizes])
            return estimate.digits, estimate.seconds, estimate.least
        if any(size.low is None and size.bits > LARGEST_ARGUMENT for size in sizes):
            return inf, 0.0, 0.0
        found, ranges, samples = [], [], []
        for size in sizes:
            if size.low is not None:
                low, high = int(size.low // 1), int(size.high // 1)
                samples.append([low, (low + high) // 2, high])
            else:  # the range is a guess, so that only its top end is a sample
                high = (1 << ceil(size.bits)) - 1
                low = 0 if size.least > -inf else -high
                samples.append([high])
            ranges.append((low, high))
        for values in (*product(*samples), *function.operation.longest_results(ranges)):
            with suppress(DomainError):
                found.append(function.estimate(node.position, list(map(mpz, values))))
        seconds = sum(each.seconds for each in found) / max(1, len(found))
        least = 0.0
        (first, *others) = sizes
        if not (others or first.places or first.rounded) and first.least > 0:  # the bound holds for larger arguments
            least = function.estimate(node.position, [mpz(1) << int(first.least)]).least
        return max((each.digits for each in found), default=1), seconds, least
