"""The residue of an expression. Its parts are reduced by the modulus, except those that must be computed exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycalc.services.operations.expressions import nodes
from pycalc.services.operations.expressions.arithmetic import OPERATORS
from pycalc.services.operations.expressions.functions import PRECISION
from pycalc.services.operations.expressions.nodes import Node, needs_value
from pycalc.services.operations.expressions.problems import undefined
from pycalc.services.operations.expressions.sizes import EULER_BITS, choose_euler, size_of
from pycalc.services.operations.expressions.values import Value, is_exact, is_whole, residue_of
from pycalc.services.operations.numbers.gmp import mpz
from pycalc.services.operations.numbers.primes import totient

if TYPE_CHECKING:
    from pycalc.services.operations.expressions.evaluation import Evaluator


class NotInvertibleError(ZeroDivisionError):
    """The error for a divisor that has no inverse, because it shares a factor with the modulus."""


class Residues:
    """Residues of an expression's nodes modulo ``modulus``·``factor``; ``evaluator`` has the values of variables.

    To verify a residue modulo m, it is computed modulo m·p for a random prime p, which is ``factor``. Another instance
    computes the residue modulo p alone, and both must agree modulo p. That instance has ``verifying`` set, so that
    functions find their residues by a method that is independent of the one for their values.

    In both instances, ``verified`` is m. They make two replacements that do not change the residue modulo m. A function
    that takes too long modulo p is replaced by its residue modulo m. A large exponent is reduced modulo the totient of
    m, by Euler's theorem. If no residue is verified in this way, ``verified`` is 0.
    """

    def __init__(
        self, evaluator: Evaluator, modulus: int, factor: int = 1, *, verifying: bool = False, verified: int = 0
    ) -> None:
        self._evaluator = evaluator
        self._verified = verified
        self._reduced = verified or int(modulus)
        self._factor = factor
        self.modulus = mpz(modulus * factor)
        self.verifying = verifying
        self._nodes: Mapping[type, Callable[[Any], Value]] = {
            nodes.Constant: self._number,
            nodes.Negation: lambda node: -self.of(node.operand) % self.modulus,
            nodes.Chain: self._chain,
            nodes.Exponentiation: self._power,
            nodes.Call: self._call,
            nodes.Loop: self._loop,
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
            return residue_of(value, self.modulus)
        except ZeroDivisionError:
            raise NotInvertibleError from None

    def _exact(self, node: Node) -> Value:
        return self.of_value(node.position, self._evaluator.value(node))

    def _number(self, node: nodes.Constant) -> Value:
        unscaled, exponent = node.value.unscaled, node.value.exponent
        if not exponent or self.modulus == 1:
            return unscaled % self.modulus
        scale = pow(mpz(10), abs(exponent), self.modulus)
        return unscaled * (scale if exponent >= 0 else self.inverse(scale)) % self.modulus

    def _chain(self, node: nodes.Chain) -> Value:
        if needs_value(node):
            return self._exact(node)
        value = self.of(node.first)
        for step in node.steps:
            operand = self.of(step.operand)
            divides = step.operator == "/"
            value = value * self.inverse(operand) if divides else OPERATORS[step.operator](value, operand)
            value %= self.modulus
        return value

    def _power(self, node: nodes.Exponentiation) -> Value:
        size = self._evaluator.bounds.of(node.exponent)
        if size.bits > EULER_BITS and choose_euler(node.exponent.position, size, size_of(mpz(self._reduced))):
            # With φ, the totient of the modulus m, a^e is congruent to a^(e mod φ + φ) modulo m for any a, if
            # e >= log2 m (Euler). So e mod φ is computed instead of e. The two residues of a verification compute it in
            # different ways, modulo φ and modulo φ·``factor``, so that an error in it is detected.
            order = totient(self._reduced)
            reduced = Residues(self._evaluator, order, self._factor, verified=order).of(node.exponent) % order
            return pow(self.of(node.base), reduced + order, self.modulus)
        exponent = self._evaluator.value(node.exponent)
        if not is_whole(exponent):
            return self._exact(node)
        base = self.of(node.base)
        return pow(base if exponent >= 0 else self.inverse(base), abs(exponent), self.modulus)

    def _call(self, node: nodes.Call) -> Value:
        if needs_value(node):
            return self._exact(node)
        return self.of_call(node, list(map(self._evaluator.value, node.arguments)))

    def of_call(self, node: nodes.Call, values: Sequence[Value]) -> Value:
        """Return the residue of an operation's value for these arguments."""
        function = self._evaluator.arithmetic.functions[node.name]
        if self._verified and function.is_long_modulo_prime(node.position, values):
            return function.residue(node.position, values, self._verified, verified=True) % self.modulus
        if not self.verifying:
            if self._factor > 1:
                return function.wider_residue(node.position, values, self._reduced, self._factor)
            return function.residue(node.position, values, self._reduced)
        arguments = function.arguments(node.position, values)
        residue = function.operation.residue(arguments, PRECISION, int(self.modulus))
        if residue is None:
            return self.of_value(node.position, function.value(node.position, values))
        return mpz(residue)

    def _loop(self, node: nodes.Loop) -> Value:
        result = mpz(node.name == "prod") % self.modulus
        for term in self._evaluator.terms(node, self):
            result = (result + term if node.name == "sum" else result * term) % self.modulus
        return result

    def inverse(self, value: Value) -> Value:
        """Return the inverse of a residue. Raises NotInvertibleError if there is none, and for the modulus 1."""
        if self.modulus == 1:  # every number is 0 modulo 1, so that a division by zero would pass unnoticed
            raise NotInvertibleError
        try:
            return pow(value, -1, self.modulus)
        except (ValueError, ZeroDivisionError):
            raise NotInvertibleError from None
