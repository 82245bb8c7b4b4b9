"""The size and the cost of one node, from the sizes of its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import ceil, inf
from typing import Any

from pycalc.errors import DomainError
from pycalc.services.operations.expressions import costs
from pycalc.services.operations.expressions.arithmetic import BUILT_IN, IRRATIONAL, Arithmetic
from pycalc.services.operations.expressions.functions import Function
from pycalc.services.operations.expressions.nodes import Call, Chain, Comparison, Exponentiation, Negation, Node, Step
from pycalc.services.operations.expressions.problems import MOST_BITS, too_large, undefined
from pycalc.services.operations.expressions.sizes import (
    BITS_PER_DIGIT,
    FOLDED_BITS,
    MARGIN,
    Enclosed,
    Size,
    corners,
    log2_of,
    magnitude,
    rounded_of,
    size_of,
    times,
)
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.literals import MAX_LITERAL

_FOLDED_SECONDS = 5e-5
LARGEST_ARGUMENT = (MAX_LITERAL - 1) * BITS_PER_DIGIT  # the most bits of an argument: operations read it as a literal


class NodeSizes:
    """An estimator of the size and cost of single nodes, from the sizes of their operands.

    If ``strict`` is set, an argument that may be too large for a function raises ResultTooLarge.
    """

    def __init__(self, functions: Mapping[str, Function], precision: int, *, strict: bool) -> None:
        self.seconds = 0.0  # the total cost of the nodes' values, on one core
        self.certain = True  # False once a cost depended on samples of a function or on guesses
        self._functions = functions
        self._arithmetic = Arithmetic(functions)
        self._precision = precision
        self._strict = strict
        self._combined: Mapping[type, Callable[[Any, Sequence[Size]], Size]] = {
            Negation: lambda _, sizes: sizes[0].negated(),
            Chain: self._chain,
            Exponentiation: lambda node, sizes: self._power(node, *sizes),
            Call: self._call,
            Comparison: lambda _, sizes: Size(None, None, 1),
        }

    def combined(self, node: Node, sizes: Sequence[Size]) -> Size:
        """Return a node's size and count its cost. If the operands are known and the value is small, compute the value.

        Raises DomainError if there is certainly no value. If ``strict`` is set, raises ResultTooLarge if an argument
        may be too large for a function.
        """
        size = self._combined[type(node)](node, sizes)
        if size.bits + size.places > FOLDED_BITS:
            return size
        return self._folded(node, sizes) or size if size.value is None else size_of(size.value)

    def _folded(self, node: Node, sizes: Sequence[Size]) -> Size | None:
        """Return the size of a node by computing its value, or a bound for an irrational power.

        Return None if an operand is unknown, if the computation is slow, or if the value is not a number.
        """
        values = [size.value for size in sizes]
        if not all(value is not None for value in values) or isinstance(node, Comparison):
            return None
        if isinstance(node, Call) and node.name not in BUILT_IN:
            if not self._functions[node.name].signature.numeric:
                return None
            if self._functions[node.name].estimate(node.position, values).seconds > _FOLDED_SECONDS:
                return None
        if not isinstance(node, Exponentiation):
            return size_of(self._arithmetic.value(node, values))
        power = self._arithmetic.exact_power(node.position, *values)
        if power is not None:
            return size_of(power)
        if not self._precision:
            raise undefined(node.position, IRRATIONAL)
        base, exponent = values
        return Size(None, None, max(1.0, log2_of(base) * float(exponent) * MARGIN), rounded=Enclosed.YES)

    def _chain(self, node: Chain, sizes: Sequence[Size]) -> Size:
        size = sizes[0]
        for step, operand in zip(node.steps, sizes[1:], strict=True):
            size = self._step(step, size, operand)
        return size

    def _step(self, step: Step, left: Size, right: Size) -> Size:
        self._count_step(step.operator, left, right)
        match step.operator:
            case "+":
                return left.plus(right)
            case "-":
                return left.minus(right)
            case "*":
                return left.times(right)
            case "/":
                return self._quotient(step.position, left, right)
            case "//":
                size = self._quotient(step.position, left, right).whole()
                if left.places or right.least == -inf:
                    return size
                if left.bits < right.least:
                    return Size(mpz(-1), mpz(0), 1)
                return size._replace(bits=min(size.bits, (left.bits - right.least) * MARGIN + 1))
        self._quotient(step.position, left, right)
        low, high = (mpz(0), right.high) if right.low is not None and right.low > 0 else (None, None)
        return Size(low, high, right.bits + left.places, left.places + right.places, rounded=rounded_of(left, right))

    def _count_step(self, operator: str, left: Size, right: Size) -> None:
        """Add the time of an operator. For fractions this includes greatest common divisors, as GMP reduces them."""
        (a, b), (c, d) = self._digits(left), self._digits(right)
        if rounded_of(left, right) is Enclosed.YES:
            self.seconds += costs.ENCLOSE
        if operator in "+-":
            self.seconds += costs.add(a + b + c + d)
            if b or d:
                self.seconds += costs.gcd(b, d) + costs.multiply(a, d) + costs.multiply(b, c)
            return
        if operator in ("//", "%") and not (b or d):
            self.seconds += costs.divide(a, c)
            return
        if operator == "*":
            self.seconds += costs.multiply(a, c)
        else:
            c, d = d, c  # a quotient is a product with the reciprocal
        if b or d:
            self.seconds += costs.gcd(a, d) + costs.gcd(b, c) + costs.multiply(b, d)
        if operator in ("//", "%"):
            self.seconds += costs.divide(a + c, b + d)

    def _digits(self, size: Size) -> tuple[float, float]:
        """Return the digits of a value's numerator and denominator: for an enclosure, the precision and 0."""
        if size.rounded is Enclosed.YES:
            return self._precision, 0.0
        return size.bits / BITS_PER_DIGIT, size.places / BITS_PER_DIGIT

    def _quotient(self, position: int, left: Size, right: Size) -> Size:
        if right.value == 0:
            raise undefined(position, "This is a division by zero: only a divisor other than 0 has a quotient.")
        rounded = rounded_of(left, right)
        places = max(1.0, left.places + right.bits)
        low = high = None
        if right.low is not None and (right.low > 0 or right.high < 0):
            low, high = corners(left, right, lambda a, b: gmp.mpq(a) / b)
        return Size(low, high, left.bits + right.places, places, rounded=rounded)

    def _power(self, node: Exponentiation, base: Size, exponent: Size) -> Size:
        if base.value is not None and abs(base.value) in (0, 1):
            return Size(mpz(-1), mpz(1), 1, 0 if exponent.value is None or exponent.value >= 0 else 1)
        most = magnitude(exponent)
        natural = not exponent.places and (exponent.low >= 0 if exponent.low is not None else exponent.least > -inf)
        rounded = max(base.rounded, exponent.rounded, Enclosed.MAYBE if exponent.places else Enclosed.NO)
        bits, places = times(base.bits, most), times(base.places, most)
        if exponent.high is not None and exponent.high < 0:
            bits, places = places, max(bits, 1.0)
        elif not natural:
            bits = places = max(bits, places, 1.0)
        if rounded is not Enclosed.YES and bits + places <= MOST_BITS:
            self.seconds += costs.power((bits + places) / BITS_PER_DIGIT)
        if rounded:
            self.seconds += costs.root((base.bits + base.places) / BITS_PER_DIGIT)
            if self._precision:
                square_root = exponent.value is not None and exponent.value.denominator == 2
                self.seconds += costs.enclosed(self._precision, square_root=square_root)
                self.certain = False  # the first enclosure imports FLINT
        low = high = None
        if natural and base.low is not None and base.low >= 1 and exponent.low is not None and bits <= FOLDED_BITS:
            low, high = base.low ** int(exponent.low), base.high ** int(exponent.high)
        least = -inf
        if natural and base.least >= 0:
            least = times(base.least, 2.0 ** min(exponent.least, 1023.0)) if exponent.least > -inf else 0.0
        return Size(low, high, bits, places, least / MARGIN, rounded)

    def _call(self, node: Call, sizes: Sequence[Size]) -> Size:
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
            self.seconds += costs.divide(first.bits / BITS_PER_DIGIT, first.places / BITS_PER_DIGIT)
            if first.rounded is Enclosed.YES:  # all digits before the point are computed
                self.seconds += 2 * costs.ENCLOSE + costs.enclosed(first.bits / BITS_PER_DIGIT)
            return first.whole()
        digits, seconds, least = self._largest_call(node, sizes)
        self.seconds += seconds + costs.text(digits)
        return Size(None, None, digits * BITS_PER_DIGIT, least=least * BITS_PER_DIGIT / MARGIN if least else -inf)

    def _largest_call(self, node: Call, sizes: Sequence[Size]) -> tuple[float, float, float]:
        """Return the digits, the seconds and ``least`` of a call's Estimate.

        For unknown arguments, these are the most digits and the mean seconds of some samples.
        """
        function = self._functions[node.name]
        if all(size.value is not None for size in sizes):
            estimate = function.estimate(node.position, [size.value for size in sizes])
            return estimate.digits, estimate.seconds, estimate.least
        self.certain = False
        if any(size.low is None and size.bits > LARGEST_ARGUMENT for size in sizes):
            if self._strict:
                detail = f"An argument of {node.name} has at most {MAX_LITERAL:,} digits: make it smaller."
                raise too_large(node.position, detail, int(LARGEST_ARGUMENT))
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
