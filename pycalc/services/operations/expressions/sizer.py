"""The size and the cost of a tree, estimated before its value is computed.

Only some small values in the tree are computed for the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import ceil, inf, log2
from typing import Any, NamedTuple

from pycalc.services.operations.expressions import costs
from pycalc.services.operations.expressions.arithmetic import BUILT_IN, number, require_modulus
from pycalc.services.operations.expressions.functions import LARGEST_PRIME, Function
from pycalc.services.operations.expressions.loops import (
    BLOCK,
    LEAST_TERMS,
    polynomial_degree,
    takes_columns,
    varying_nodes,
)
from pycalc.services.operations.expressions.node_sizes import NodeSizes
from pycalc.services.operations.expressions.nodes import (
    Call,
    Chain,
    Constant,
    Exponentiation,
    Loop,
    Modulo,
    Negation,
    Node,
    Variable,
    children,
    exact_steps,
    has_call,
)
from pycalc.services.operations.expressions.problems import MOST_BITS, too_large, undefined
from pycalc.services.operations.expressions.sizes import (
    BITS_PER_DIGIT,
    FOLDED_BITS,
    MARGIN,
    Enclosed,
    Size,
    log2_of,
    size_of,
)
from pycalc.services.operations.expressions.values import Value, is_whole, residue_of
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.modular import PRIME_BITS
from pycalc.services.operations.numbers.primes import coprime_part, totient

_MEMORY_PER_BIT = 0.4  # bytes for each bit of a value, with the copies that arithmetic makes
# A guess for an unknown argument: the cost of an operation's residue, as a multiple of that of a power whose exponent
# has the size of the argument.
_CALL = 50
MOST_TERMS = 1_000_000  # the most terms of a sum or a product
# In a residue, an exponent of more bits is reduced by Euler's theorem, if the modulus is short enough to be factored.
EULER_BITS = 65_536
MOST_EULER_MODULUS_BITS = 128
MOST_EXPONENT_BITS = 1 << 24  # about 5,050,445 digits
_SHORT_EXPONENT = 1_000  # a literal with a smaller power of ten has fewer than 13,000 digits, below EULER_BITS
# The most bits of the number that stands for an unknown modulus when a call's residue is planned.
_MOST_PLANNED_BITS = 1 << 24
MOST_DIRECT_BITS = 4_096  # the left side of ``%`` is computed in full up to this size
PRIME_SIZE = Size(None, None, PRIME_BITS)  # the size of a verification's prime
_SMALL_PRIMES = gmp.primorial(1_000)
_PRIME_COFACTOR_BITS = 19.9  # a number below 10^6 without prime factors up to 1,000 is a prime or 1
_MOST_NESTED = 2  # nested loops up to this depth have their costs averaged over samples
_SAMPLED = 4  # terms whose denominators are compared
_SIMPSON = (1 / 12, 4 / 12, 2 / 12, 4 / 12, 1 / 12)


class Repeated(NamedTuple):
    """The number and the sizes of the terms of a sum or a product, as estimated."""

    terms: int  # at most
    bounds: Size  # of each term
    # The mean sizes of the terms' numerators and denominators in bits, or the largest sizes if none were sampled.
    bits: float
    places: float
    nested: bool  # for a sum: in the first terms, each denominator is a multiple of the one before, as in 1/2^i
    degree: int | None  # of the polynomial whose values are the terms, if they are summed by their differences


class Sizer(NodeSizes):
    """An estimator of the size and cost of a tree, for given sizes of its loops' variables.

    Each call of ``size`` or ``residue`` adds the node's cost to ``seconds`` and ``memory``. If ``strict`` is set, a
    value that may be too large raises ResultTooLarge. Otherwise, the sizes of nodes are cached.
    """

    def __init__(
        self, functions: Mapping[str, Function], precision: int, variables: dict[str, Size], *, strict: bool
    ) -> None:
        super().__init__(functions, precision, strict=strict)
        self.memory = 0.0  # bytes
        self.typical = inf  # the likely number of digits of the last loop, which may be far below its bound
        self._variables = variables
        # An estimator for bounds alone: the costs that it adds up are not used.
        self._bounds = Sizer(functions, precision, variables, strict=False) if strict else self
        self._found: dict[int, Size] = {}
        self._nested = 0  # loops around the current node whose costs are averaged over samples
        self._varying: set[int] | None = None  # in a loop that is computed in columns, the ids of its varying nodes
        self._share = 1.0  # in such a loop, how often other parts are computed, divided by the number of terms
        self._sizes: Mapping[type, Callable[[Any], Size]] = {
            Constant: self._number,
            Variable: lambda node: self._variables[node.name],
            Loop: self._loop,
            Modulo: self._modulo,
        }

    def size(self, node: Node) -> Size:
        """Return the bounds of a node's value, and count its cost.

        Raises DomainError if it is certain that a node has no value, and for a loop that may have too many terms.
        Raises ResultTooLarge for an exponent that may be too large for a residue. If ``strict`` is set, raises
        ResultTooLarge for a value that may be too large.
        """
        if not self._strict and id(node) in self._found:
            return self._found[id(node)]
        if self._is_invariant(node):
            return self._once(lambda: self.size(node))
        self._count_node(node)
        size = self._sizes.get(type(node), self._of_operands)(node)
        if size.rounded is not Enclosed.YES:
            self.memory += (size.bits + size.places) * _MEMORY_PER_BIT
            if self._strict and not size.bits + size.places <= MOST_BITS:
                raise too_large(node.position)
        if not self._strict:
            self._found[id(node)] = size
        return size

    def forget(self, body: Node) -> None:
        """Forget the sizes of a loop's body, because the size of the loop's variable changes."""
        self._found.pop(id(body), None)
        for child in children(body):
            self.forget(child)

    def _is_invariant(self, node: Node) -> bool:
        """Return whether a node is in a loop that is computed in columns, and does not depend on its variable."""
        return self._varying is not None and id(node) not in self._varying

    def _count_node(self, node: Node) -> None:
        self.seconds += costs.NODE if self._varying is None or isinstance(node, Call) else costs.COLUMN

    def _once(self, count: Callable[[], Size]) -> Size:
        """Return the size from ``count``, which counts the cost of a node that does not depend on a loop's variable.

        Reduce the counted seconds, because the node is computed once for each block of terms, not for each term.
        """
        before, varying = self.seconds, self._varying
        self._varying = None
        size = count()
        self._varying = varying
        self.seconds = before + (self.seconds - before) * self._share
        return size

    def _of_operands(self, node: Node) -> Size:
        first, *others = children(node)
        size = None
        in_full = not self._strict or self._varying is not None
        if not in_full and isinstance(node, Chain) and node.steps[0].operator == "%":
            modulus = self._peek(node.steps[0].operand)
            if takes_residue(self._peek(first), modulus) and modulus.bits <= MOST_BITS:
                self._residue_within(first, modulus)
                size = Size(mpz(0) if modulus.high is not None else None, modulus.high, modulus.bits)
        return self.combined(node, [size or self.size(first), *map(self.size, others)])

    def _residue_within(self, node: Node, modulus: Size) -> None:
        """Count the cost of a ``mod`` or ``%`` in the tree: the residue of its left side, ``node``."""
        self.seconds += costs.RESIDUE
        if isinstance(node, Call) and node.name in self._functions:
            self._residue_of_call(node, modulus, alone=True)
        else:
            self.residue(node, modulus)

    def residue(self, node: Node, modulus: Size) -> Size:
        """Count the cost of a node's residue modulo a number of this size, and return the residue's size."""
        if self._is_invariant(node):
            return self._once(lambda: self.residue(node, modulus))
        self._count_node(node)
        digits = modulus.bits / BITS_PER_DIGIT
        match node:
            case Constant() | Variable():
                self.seconds += costs.multiply(digits, digits)
            case Chain():
                self._residue_of_chain(node, modulus)
            case Negation(_, operand):
                self.residue(operand, modulus)
            case Exponentiation():
                self._residue_of_power(node, modulus)
            case Loop():
                self._repeated(node, lambda: self.residue(node.body, modulus), columns=modulus.bits <= FOLDED_BITS)
            case Call() if node.name not in BUILT_IN:
                self._residue_of_call(node, modulus)
            case Modulo() if self._varying is None:  # it is verified by two residues
                self.size(node)
                self.size(node)
            case _:
                self.size(node)
        return Size(None, None, modulus.bits)

    def _number(self, node: Constant) -> Size:
        unscaled, exponent = node.value.unscaled, node.value.exponent
        bits = (log2_of(unscaled) + max(0, exponent) * BITS_PER_DIGIT) * MARGIN
        places = max(0, -exponent) * BITS_PER_DIGIT * MARGIN
        if bits + places <= FOLDED_BITS * 10:
            return size_of(number(node.position, node.value))
        self.seconds += costs.power(max(bits, places) / BITS_PER_DIGIT)
        return Size(None, None, bits, places, bits / MARGIN**2 - places)

    def _peek(self, node: Node) -> Size:
        """Return the bounds of a node's value, without counting the cost of the value itself."""
        if not self._nested:  # a loop counts the time to find the bounds itself
            self.seconds += costs.PEEK
        return self._bounds.size(node)

    def _loop(self, node: Loop) -> Size:
        loop = self._repeated(node, lambda: self.size(node.body))
        terms, size = loop.terms, loop.bounds
        if not terms:
            return size_of(mpz(0) if node.name == "sum" else mpz(1))
        # All values of a polynomial can be written with one denominator, the product of those in its coefficients.
        denominators = terms if loop.degree is None else 1
        places = size.places * denominators
        bits = size.bits * terms if node.name == "prod" else size.bits + places + log2(terms)
        self.typical = max(1.0, (loop.bits + loop.places) * (1 if loop.nested else terms) / BITS_PER_DIGIT)
        above, below = loop.bits * terms / BITS_PER_DIGIT, loop.places * terms / BITS_PER_DIGIT
        if bits + places <= MOST_BITS and loop.degree is None:
            if node.name == "prod":
                self.seconds += costs.join(above, terms)
            if size.places and loop.nested:  # each denominator divides the next, and the last is that of the sum
                self.seconds += 3 * terms * costs.multiply(below / terms, below / terms)
            elif size.places:
                # Sums get a common denominator; of two products, each numerator is reduced by the other denominator.
                joins, other = (1, above) if node.name == "prod" else (2, below)
                self.seconds += joins * costs.join(below, terms) + 2 * costs.gcd(other / 2, below / 2)
        low = high = None
        if node.name == "sum" and size.low is not None:
            low, high = min(terms * size.low, mpz(0)), max(terms * size.high, mpz(0))
        return Size(low, high, bits, places, rounded=size.rounded)

    def _repeated(self, node: Loop, count: Callable[[], Size], *, columns: bool = True) -> Repeated:
        """Count the cost of all terms of a sum or a product, and return the number and the sizes of the terms.

        ``count`` must add the cost of one term to ``seconds``, and return the term's size. It finds the size of the
        loop's variable in ``_variables``. First, it is called for the whole range of the variable, which gives upper
        bounds for every term. Then it is called for five single values. The weighted mean of their costs (Simpson's
        rule) is taken as the cost of a term. If an end of the range is not known, or if this loop is within two others,
        only the first call is made, and its cost is taken.

        Set ``columns`` to False if the terms can't be computed in columns. Raises DomainError if a bound is not a whole
        number, or if there may be too many terms.
        """
        first, last = self.size(node.first), self.size(node.last)
        for bound in (first, last):
            if bound.value is not None and not is_whole(bound.value):
                raise undefined(node.position, f"The bounds of {node.name} must be whole numbers.")
        if first.low is None or last.high is None or last.high - first.low >= MOST_TERMS:
            detail = f"This {node.name} may have too many terms: at most {MOST_TERMS:,} are added or multiplied."
            raise undefined(node.position, detail)
        if last.high < first.low:
            return Repeated(0, first, 0.0, 0.0, nested=False, degree=None)
        outer = self._variables.get(node.variable)
        whole = first.value is not None and last.value is not None
        bits = max(log2_of(first.low.numerator), log2_of(last.high.numerator))
        self._variables[node.variable] = Size(first.low, last.high, bits, 0.0, first.least)
        before, depth, outer_columns = self.seconds, self._nested, (self._varying, self._share)
        terms = int(last.high - first.low) + 1
        degree, self._varying = self._shortcut(node, terms, columns=columns)
        # Without certain bounds the loop may be so short that its terms are evaluated one by one.
        blocks = max(ceil(terms / BLOCK), 1 if whole else min(terms, LEAST_TERMS))
        self._share = blocks / terms
        self._nested = _MOST_NESTED
        bounds = count()
        memory = self.memory
        found = [(1.0, bounds, self.seconds - before)]
        nested = False
        self._nested = depth
        if whole and depth < _MOST_NESTED:
            self._nested += 1
            found.clear()
            for quarter, weight in enumerate(_SIMPSON):
                self._variables[node.variable] = size_of(first.low + (last.high - first.low) * quarter // 4)
                start = self.seconds
                found.append((weight, count(), self.seconds - start))
            if bounds.places and node.name == "sum":
                nested = terms > _SAMPLED and self._denominators_are_nested(node, first.low, count)
            self._nested = depth
        join = costs.JOIN if self._varying is None else costs.COLUMN
        self._varying, self._share = outer_columns
        mean = sum(weight * seconds for weight, _, seconds in found)
        if degree is None:
            computed = (mean + join) * terms
        else:
            computed = mean * (degree + 2) + degree**2 * (costs.JOIN + costs.add(bounds.bits / BITS_PER_DIGIT))
        self.seconds, self.memory = before + self._entry_seconds(node, terms) + computed, memory
        self.certain = self.certain and whole
        if outer is not None:
            self._variables[node.variable] = outer
        mean_bits = sum(weight * size.bits for weight, size, _ in found)
        mean_places = sum(weight * size.places for weight, size, _ in found)
        return Repeated(terms, bounds, mean_bits, mean_places, nested, degree)

    def _entry_seconds(self, node: Loop, terms: int) -> float:
        if not self._strict:
            return costs.LOOP
        return costs.LOOP + _nodes_of(node.body) * (costs.SIZE if terms >= LEAST_TERMS else costs.FORGET)

    def _shortcut(self, node: Loop, terms: int, *, columns: bool) -> tuple[int | None, set[int] | None]:
        """Return how the terms of a loop are computed together. At least one member of the pair is None.

        If the loop adds up a polynomial's values by their differences, the first member is the polynomial's degree. If
        the terms are computed in columns, the second member is the set of ids of the nodes that depend on the loop's
        variable. (None, None) means that the terms are computed one by one.
        """
        if not self._strict or terms < LEAST_TERMS:
            return None, None
        varying = varying_nodes(node)
        degree = polynomial_degree(node, varying, self._bounds.size, terms)
        in_columns = degree is None and columns and takes_columns(node, varying, self._bounds.size)
        return degree, varying if in_columns else None

    def _denominators_are_nested(self, node: Loop, first: Value, count: Callable[[], Size]) -> bool:
        values = []
        for index in range(1, _SAMPLED + 1):
            self._variables[node.variable] = size_of(first + index)
            values.append(count().value)
        return None not in values and all(right.denominator % left.denominator == 0 for left, right in pairwise(values))

    def _modulo(self, node: Modulo) -> Size:
        modulus = self.size(node.modulus)
        operand = (self._bounds if self._varying is None else self).size(node.operand)
        if modulus.value is not None:
            require_modulus(node.position, modulus.value)
        if self._strict and self._varying is None:
            self._residue_within(node.operand, modulus)  # the evaluation computes the residue even if it is known here
        known = modulus.value is not None and operand.value is not None
        if known and gmp.gcd(operand.value.denominator, modulus.value) == 1:
            return size_of(residue_of(operand.value, modulus.value))
        if modulus.high is None:
            return Size(None, None, modulus.bits)
        return Size(mpz(0), max(mpz(0), modulus.high // 1), modulus.bits)

    def _residue_of_chain(self, node: Chain, modulus: Size) -> None:
        exact = exact_steps(node)
        if exact:
            self._of_operands(Chain(node.position, node.first, node.steps[:exact]))
        else:
            self.residue(node.first, modulus)
        digits = modulus.bits / BITS_PER_DIGIT
        for step in node.steps[exact:]:
            self.residue(step.operand, modulus)
            # If a divisor has no inverse, the value is computed in full.
            self.certain = self.certain and step.operator != "/"
            if step.operator in "*/":
                self.seconds += 3 * costs.multiply(digits, digits)

    def _residue_of_power(self, node: Exponentiation, modulus: Size) -> None:
        exponent = self.size(node.exponent) if is_short_exponent(node.exponent) else self._peek(node.exponent)
        if exponent.places:
            self.size(node)
            return
        self.residue(node.base, modulus)
        bits = modulus.bits
        if choose_euler(node.exponent.position, exponent, modulus):
            self.seconds += costs.factor(_factored_bits(modulus)) + costs.residue_of_power(bits, bits)
            self.certain = False  # the first factorization imports FLINT
            self.residue(node.exponent, _order(node.exponent, modulus))
            return
        self.size(node.exponent)
        self.seconds += costs.residue_of_power(exponent.bits, bits)

    def _residue_of_call(self, node: Call, modulus: Size, *, alone: bool = False) -> None:
        """Count the cost of a call's residue. Unless ``alone`` is set, count its verification modulo a prime too."""
        sizes = [self.size(argument) for argument in node.arguments]
        values = [size.value for size in sizes]
        if not all(value is not None for value in values):
            self.certain = False
            for size in sizes:
                self.seconds += costs.residue_of_power(64 + size.bits, modulus.bits) * _CALL
            return
        # An unknown modulus is taken as the largest of its size; for a verification, that is the prime 2^61 - 1.
        # If it is very long, a shorter one is planned, and the cost is taken to grow with the length.
        bits = min(modulus.bits, MOST_BITS)
        longer = max(1.0, bits / _MOST_PLANNED_BITS)
        number = (1 << ceil(bits / longer)) - 1 if modulus.value is None else int(modulus.value)
        function = self._functions[node.name]
        plan = function.residue_plan(node.position, values, max(1, number))
        seconds = plan.seconds * longer
        self.seconds += seconds
        self.memory += plan.memory * longer
        if alone or modulus is PRIME_SIZE:
            return
        if function.is_long_modulo_prime(node.position, values):
            # The residue is computed twice more. If it has over 1,000 digits, a larger modulus verifies it.
            self.seconds += 4 * seconds + costs.LONG_CALL
            return
        plan = function.residue_plan(node.position, values, LARGEST_PRIME)
        self.seconds += plan.seconds
        self.memory += plan.memory


def _nodes_of(node: Node) -> int:
    return 1 + sum(map(_nodes_of, children(node)))


def takes_residue(size: Size, modulus: Size) -> bool:
    """Return whether ``a % m`` is computed as a residue, without ``a`` itself.

    ``a`` and ``m`` must be whole and exact, and ``m`` must be certainly positive. The upper bound of ``a`` must have
    over MOST_DIRECT_BITS bits.
    """
    whole = not (size.places or size.rounded or modulus.places or modulus.rounded)
    return size.bits > MOST_DIRECT_BITS and whole and modulus.least > -inf


def is_short_exponent(exponent: Node) -> bool:
    """Return whether an exponent is a variable or a literal without a large power of ten.

    The value of such an exponent is found sooner than its size.
    """
    literal = isinstance(exponent, Constant) and exponent.value.exponent < _SHORT_EXPONENT
    return literal or isinstance(exponent, Variable)


def choose_euler(position: int, exponent: Size, modulus: Size) -> bool:
    """Return whether to reduce an exponent by Euler's theorem, which requires the prime factors of the modulus.

    The exponent must be whole and exact, and its upper bound must have over EULER_BITS bits. It must certainly be above
    2^20, and above the number of bits of the modulus. So that the modulus is factored in time, it must have at most
    MOST_EULER_MODULUS_BITS bits, not counting the prime factors up to 1,000 of a known modulus.

    Raises ResultTooLarge, with the position, if an exponent that cannot be reduced may have over MOST_EXPONENT_BITS.
    """
    if exponent.bits > EULER_BITS and not (exponent.places or exponent.rounded):
        large = exponent.least > 20 and modulus.bits < 2.0 ** min(exponent.least, 1023.0)
        if large and _factored_bits(modulus) <= MOST_EULER_MODULUS_BITS:
            return True
    if exponent.bits > MOST_EXPONENT_BITS:
        detail = (
            "This exponent may have more than 5,050,445 digits: make it smaller. A larger exponent is possible only if "
            "it is certainly a large, positive whole number. The modulus must then have at most 128 bits, not counting "
            "prime factors up to 1,000."
        )
        raise too_large(position, detail, MOST_EXPONENT_BITS)
    return False


def _factored_bits(modulus: Size) -> float:
    """Return the bits of a modulus without its prime factors up to 1,000, or with them if the modulus is unknown."""
    return modulus.bits if modulus.value is None else log2_of(coprime_part(modulus.value, _SMALL_PRIMES))


def _order(exponent: Node, modulus: Size) -> Size:
    """Return the size of the totient of a modulus."""
    # It is computed if it needs no large factorization, or if the cost of a call in the exponent depends on it.
    if modulus.value is not None and (has_call(exponent) or _factored_bits(modulus) <= _PRIME_COFACTOR_BITS):
        return size_of(mpz(totient(int(modulus.value))))
    # Each further totient is shorter, because totients have more and more small factors.
    return Size(None, None, 0.85 * modulus.bits)
