"""The functions of an expression: the operations of the registry, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import Any

from pycalc.errors import DomainError, InvalidInput
from pycalc.services.operations.base import Estimate, Modular, Operation, ResiduePlan
from pycalc.services.operations.expressions.nodes import Signature
from pycalc.services.operations.expressions.problems import MOST_BITS, too_large, undefined
from pycalc.services.operations.expressions.sizes import BITS_PER_DIGIT
from pycalc.services.operations.expressions.values import Value, is_exact, lowest, text_of_value
from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.modular import PRIME_BITS
from pycalc.services.operations.numbers.texts import inverse

PRECISION = 50  # has no effect, because a function has exact arguments and values
LARGEST_PRIME = (1 << PRIME_BITS) - 1  # the largest prime modulo which values are verified
_LONGEST_VERIFICATION = 1.0  # seconds that a residue modulo LARGEST_PRIME may take
_SHORT_ARGUMENT = 10**9  # if no magnitude of an argument is larger, such a residue is taken to be shorter
_UNFACTORED = 10**6  # if no magnitude of an argument is larger, no modulus is too hard to factor
_COUNTLESS = 10**300  # a number of digits that a float holds, far above all that can be computed


class Function:
    """An operation as a function of exact values.

    The errors of a call report its ``position``. An argument that is irrational or not accepted raises DomainError.
    """

    def __init__(self, operation: Operation[Any]) -> None:
        self.operation = operation
        self.signature = Signature(len(operation.parameters), len(operation.parameters), operation.numeric)

    def estimate(self, position: int, values: Sequence[Value]) -> Estimate:
        """Estimate the size and cost of the value. Sizes above 10^300 digits are reported as 10^300."""
        with _placed(position):
            estimate = self.operation.estimate(self.arguments(position, values), PRECISION)
        return replace(estimate, digits=min(estimate.digits, _COUNTLESS), least=min(estimate.least, _COUNTLESS))

    def value(self, position: int, values: Sequence[Value]) -> Value:
        """Return the function's value, or its text if the value is not a number.

        Raises VerificationFailed if a check fails, and ResultTooLarge if an argument is too large for GMP.
        """
        with _placed(position):
            try:
                text = self.operation.result(self.arguments(position, values), PRECISION, exact=True).text
            except OverflowError:  # estimates only sample the arguments that they do not know
                raise too_large(position) from None
        return lowest(gmp.mpq(text.decode())) if self.signature.numeric else text

    def residue_plan(self, position: int, values: Sequence[Value], modulus: int) -> ResiduePlan:
        """Return the cost of the function's value modulo ``modulus``, and the method if there are several.

        An operation that is not Modular computes the whole value. Raises ResultTooLarge if that is too large, and
        DomainError if ``modulus`` would take too long to factor.
        """
        if isinstance(self.operation, Modular):
            with _placed(position):
                return self.operation.plan_modulo(self.arguments(position, values), modulus)
        estimate = self.estimate(position, values)
        bits = estimate.digits * BITS_PER_DIGIT
        if bits > MOST_BITS:
            raise too_large(position)
        return ResiduePlan(estimate.seconds, bits / 8)

    def is_long_modulo_prime(self, position: int, values: Sequence[Value]) -> bool:
        """Return whether the value modulo a prime of 61 bits probably takes over a second, as for (10^12)!."""
        is_short = max(map(abs, values)) <= _SHORT_ARGUMENT
        return not is_short and self.residue_plan(position, values, LARGEST_PRIME).seconds > _LONGEST_VERIFICATION

    def residue(self, position: int, values: Sequence[Value], modulus: int, *, verified: bool = False) -> Value:
        """Return the function's value modulo ``modulus``. With ``verified``, verify a residue of over 1,000 digits.

        An operation that is not Modular computes the whole value. Raises VerificationFailed if a check fails.
        """
        if not isinstance(self.operation, Modular):
            return self.value(position, values) % modulus
        with _placed(position):
            arguments = self.arguments(position, values)
            if not verified:
                return mpz(self.operation.modulo(arguments, modulus))
            method = self.operation.plan_modulo(arguments, modulus).method
            return mpz(self.operation.result_modulo(arguments, modulus, method).text)

    def wider_residue(self, position: int, values: Sequence[Value], modulus: int, prime: int) -> Value:
        """Return the function's value modulo ``modulus``·``prime``, for a prime of at most 61 bits.

        If the product is too hard to factor, or takes much longer than ``modulus``, combine the residues modulo
        ``modulus`` and modulo ``prime`` (Chinese remainder theorem). Raises the errors of ``residue``, and
        ZeroDivisionError in the negligible case that ``prime`` divides ``modulus``.
        """
        if not isinstance(self.operation, Modular) or max(map(abs, values)) <= _UNFACTORED:
            return self.residue(position, values, modulus * prime)
        with _placed(position):
            operation, arguments = self.operation, self.arguments(position, values)
            try:
                seconds, _, method = operation.plan_modulo(arguments, modulus * prime)
            except InvalidInput:
                seconds, method = inf, None
            if seconds > _LONGEST_VERIFICATION:
                apart = operation.plan_modulo(arguments, modulus)
                if seconds > _LONGEST_VERIFICATION + 2 * apart.seconds:
                    residue = mpz(operation.result_modulo(arguments, modulus, apart.method).text)
                    other = operation.modulo(arguments, prime)
                    return residue + modulus * ((other - residue) * inverse(modulus, prime) % prime)
            return mpz(operation.modulo(arguments, modulus * prime, method))

    def arguments(self, position: int, values: Sequence[Value]) -> Any:
        """Return the operation's arguments for these values."""
        name = self.operation.name
        if not all(map(is_exact, values)):
            raise undefined(position, f"{name} takes exact numbers, and an argument is irrational.")
        names = [parameter.name for parameter in self.operation.parameters]
        literals = {each: text_of_value(value) for each, value in zip(names, values, strict=True)}
        try:
            return self.operation.parse(literals)
        except (InvalidInput, DomainError) as error:
            raise undefined(position, f"{name} is not defined here: {error.detail}") from None


@contextmanager
def _placed(position: int) -> Iterator[None]:
    """Raise an operation's InvalidInput or DomainError as a DomainError at ``position``."""
    try:
        yield
    except (InvalidInput, DomainError) as error:
        if error.problems and error.problems[0].position is not None:
            raise
        raise undefined(position, error.detail) from None
