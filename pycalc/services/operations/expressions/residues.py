"""The residue of an expression. Its parts are reduced by the modulus, except those that must be computed exactly."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from pycalc.services.operations.expressions.arithmetic import BUILT_IN
from pycalc.services.operations.expressions.loops import OPERATORS, Column, ValueColumns
from pycalc.services.operations.expressions.nodes import (
    Call,
    Chain,
    Constant,
    Exponentiation,
    Loop,
    Negation,
    Node,
    exact_steps,
)
from pycalc.services.operations.expressions.problems import undefined
from pycalc.services.operations.expressions.sizer import choose_euler, is_short_exponent
from pycalc.services.operations.expressions.sizes import FOLDED_BITS, size_of
from pycalc.services.operations.expressions.values import Value, is_exact, is_whole, residue_of
from pycalc.services.operations.numbers.gmp import mpz
from pycalc.services.operations.numbers.primes import totient
from pycalc.services.operations.numbers.texts import inverse

if TYPE_CHECKING:
    from pycalc.services.operations.expressions.evaluation import Evaluator


class NotInvertibleError(ZeroDivisionError):
    """The error for a divisor that has no inverse, because it shares a factor with the modulus."""


class Residues:
    """Residues of an expression's nodes modulo ``modulus``·``factor``; ``evaluation`` has the values of variables.

    To verify a residue modulo m, it is computed modulo m·p for a random prime p, which is ``factor``. Another instance
    computes the residue modulo p alone, and both must agree modulo p. That instance has ``verifying`` set, so that
    functions find their residues by a method that is independent of the one for their values.

    In both instances, ``verified`` is m. They make two replacements that do not change the residue modulo m. A function
    that takes too long modulo p is replaced by its residue modulo m. A large exponent is reduced modulo the totient of
    m, by Euler's theorem. If no residue is verified in this way, ``verified`` is 0.
    """

    def __init__(
        self, evaluation: Evaluator, modulus: int, factor: int = 1, *, verifying: bool = False, verified: int = 0
    ) -> None:
        self._evaluation = evaluation
        self._verified = verified
        self._reduced = verified or int(modulus)
        self._factor = factor
        self._modulus = mpz(modulus * factor)
        self._verifying = verifying
        self._nodes: Mapping[type, Callable[[Any], Value]] = {
            Constant: self._number,
            Negation: lambda node: -self.of(node.operand) % self._modulus,
            Chain: self._chain,
            Exponentiation: self._power,
            Call: self._call,
            Loop: self._loop,
        }

    def of(self, node: Node) -> Value:
        """Return the residue of a node, from 0 to ``modulus``·``factor`` - 1.

        Raises NotInvertibleError if a divisor has no inverse, and the errors of ``Evaluator.value``.
        """
        return self._nodes.get(type(node), self._exact)(node)

    def of_value(self, position: int, value: Value) -> Value:
        """Return the residue of a value.

        Raises DomainError for an irrational value, and NotInvertibleError if its denominator has no inverse.
        """
        if not is_exact(value):
            raise undefined(position, "This part is irrational: only a rational number has a residue.")
        try:
            return residue_of(value, self._modulus)
        except ZeroDivisionError:
            raise NotInvertibleError from None

    def _exact(self, node: Node) -> Value:
        return self.of_value(node.position, self._evaluation.value(node))

    def _number(self, node: Constant) -> Value:
        unscaled, exponent = node.value.unscaled, node.value.exponent
        if not exponent:
            return unscaled % self._modulus
        scale = pow(mpz(10), abs(exponent), self._modulus)
        return unscaled * (scale if exponent >= 0 else self._inverse(scale)) % self._modulus

    def _chain(self, node: Chain) -> Value:
        exact = exact_steps(node)
        value = self._exact(Chain(node.position, node.first, node.steps[:exact])) if exact else self.of(node.first)
        for step in node.steps[exact:]:
            operand = self.of(step.operand)
            divides = step.operator == "/"
            value = value * self._divisor(operand) if divides else OPERATORS[step.operator](value, operand)
            value %= self._modulus
        return value

    def _power(self, node: Exponentiation) -> Value:
        if not is_short_exponent(node.exponent):
            size = self._evaluation.size(node.exponent)
            if choose_euler(node.exponent.position, size, size_of(mpz(self._reduced))):
                # With φ, the totient of the modulus m, a^e is congruent to a^(e mod φ + φ) modulo m for any a, if
                # e >= log2 m (Euler). So e mod φ is computed instead of e. The two residues of a verification compute
                # it in different ways, modulo φ and modulo φ·``factor``, so that an error in it is detected.
                order = totient(self._reduced)
                reduced = Residues(self._evaluation, order, self._factor, verified=order).of(node.exponent) % order
                return pow(self.of(node.base), reduced + order, self._modulus)
        exponent = self._evaluation.value(node.exponent)
        if not is_whole(exponent):
            return self._exact(node)
        base = self.of(node.base)
        return pow(base if exponent >= 0 else self._divisor(base), abs(exponent), self._modulus)

    def _call(self, node: Call) -> Value:
        if node.name in BUILT_IN:
            return self._exact(node)
        return self._value_of_call(node, [self._evaluation.value(argument) for argument in node.arguments])

    def _value_of_call(self, node: Call, values: Sequence[Value]) -> Value:
        function = self._evaluation.functions[node.name]
        if self._verified and function.is_long_modulo_prime(node.position, values):
            return function.residue(node.position, values, self._verified, verified=True) % self._modulus
        if not self._verifying:
            if self._factor > 1:
                return function.wider_residue(node.position, values, self._reduced, self._factor)
            return function.residue(node.position, values, self._reduced)
        residue = function.independent_residue(node.position, values, int(self._modulus))
        if residue is None:
            return self.of_value(node.position, function.value(node.position, values))
        return mpz(residue)

    def _loop(self, node: Loop) -> Value:
        result = mpz(node.name == "prod") % self._modulus
        is_short = self._modulus.bit_length() <= FOLDED_BITS
        column = (lambda values: self._column(node.body, values)) if is_short else None
        terms = self._evaluation.terms(node, self.of, column, backward=self._verifying)
        for term in terms:
            result = (result + term if node.name == "sum" else result * term) % self._modulus
        return result

    def _column(self, node: Node, values: ValueColumns) -> Column:
        """Return the residues of a node in a block of a loop's terms.

        Raises ZeroDivisionError if a divisor has no inverse.
        """
        if id(node) not in values.varying:
            return [self.of(node)] * len(values.indices)
        match node:
            case Negation(_, operand):
                return self._reduce(map(operator.neg, self._column(operand, values)))
            case Chain():
                return self._column_of_chain(node, values)
            case Exponentiation(_, base, exponent):
                return list(map(pow, self._column(base, values), values.of(exponent), repeat(self._modulus)))
            case Call(_, name, arguments) if name not in BUILT_IN:
                columns = map(values.of, arguments)
                return [self._value_of_call(node, each) for each in zip(*columns, strict=True)]
        return [residue_of(value, self._modulus) for value in values.of(node)]

    def _column_of_chain(self, node: Chain, values: ValueColumns) -> Column:
        exact = exact_steps(node)
        column = self._reduce(values.exact(node, exact)) if exact else self._column(node.first, values)
        for step in node.steps[exact:]:
            operand = self._column(step.operand, values)
            if step.operator == "/":
                if self._modulus == 1:  # every number is 0 modulo 1, so that a division by zero would pass unnoticed
                    raise ZeroDivisionError
                column = self._reduce(map(operator.mul, column, map(inverse, operand, repeat(self._modulus))))
            else:
                column = self._reduce(map(OPERATORS[step.operator], column, operand))
        return column

    def _reduce(self, column: Iterable[Value]) -> Column:
        return list(map(operator.mod, column, repeat(self._modulus)))

    def _divisor(self, value: Value) -> Value:
        if self._modulus == 1:  # every number is 0 modulo 1, so that a division by zero would pass unnoticed
            raise NotInvertibleError
        return self._inverse(value)

    def _inverse(self, value: Value) -> Value:
        try:
            return pow(value, -1, self._modulus)
        except (ValueError, ZeroDivisionError):
            raise NotInvertibleError from None
