"""The calculation ``evaluate``: the value of an expression over the operations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pycalc.errors import FieldProblem, InvalidInput, VerificationFailed
from pycalc.services.operations.base import Calculable, Estimate, Operation, Parameter, Verified
from pycalc.services.operations.expressions.expression import Expression, Expressions
from pycalc.services.operations.expressions.functions import Function
from pycalc.services.operations.numbers.literals import key_of
from pycalc.services.operations.numbers.modular import random_prime

_SHORT_DIGITS = 18
_PRIMES = 3  # the most primes that a verification draws: another one is drawn if a prime divides a denominator


class Evaluate(Calculable[Expression]):
    """The value of an expression. An irrational value is rounded to the precision, or refused if that is 0."""

    name = "evaluate"
    title = "Expression"
    description = (
        "The exact value of an expression over the operations: an integer, a decimal, p/q in lowest terms, or the "
        "boolean of a comparison. An irrational value is rounded to `precision` significant digits, if that is given."
    )
    parameters = (Parameter("expression", "expression", "The expression.", "3^(10^12) mod 10^20"),)
    default_precision = 0

    def __init__(self, operations: Mapping[str, Operation[Any]]) -> None:
        functions = {name: Function(operation) for name, operation in operations.items()}
        self._expressions = Expressions(functions)
        calls = "|".join(functions)
        # A call of a function with short literals, for which the size is found at once.
        argument = rf"\s*[0-9]{{1,{_SHORT_DIGITS}}}\s*"
        self._quick_call = re.compile(rf"\b(?:{calls})\({argument}(?:,{argument})*\)|\b[0-9]{{1,9}}!")
        self._call = re.compile(rf"\b(?:{calls})\b|!(?!=)")
        self._modulo = re.compile(r"\bmod\b|%")
        self._loop = re.compile(r"\b(?:sum|prod)\b")

    def parse(self, raw: Mapping[str, str]) -> Expression:
        text = raw.get("expression")
        if text is None:
            raise InvalidInput.of(FieldProblem("/expression", "expression is missing: it is required."))
        return self._expressions.read(text)

    def input(self, args: Expression) -> dict[str, int | str]:
        return {"expression": args.text}

    def key(self, args: Expression, precision: int) -> str:
        return key_of(self.name, args.text, *([f"precision={precision}"] if precision else []))

    def estimate(self, args: Expression, precision: int) -> Estimate:
        return self._expressions.estimate(args, precision)

    def call(self, args: Expression) -> tuple[str, tuple[str, ...]] | None:
        """Return the operation and operands of an expression that is one call with short operands, else None.

        A power counts as a call of ``pow``. Raises DomainError or ResultTooLarge if an operand has no value, or may be
        too large to compute.
        """
        return self._expressions.call(args)

    def is_quick(self, literals: tuple[str, ...], *, modulo: bool) -> bool:
        """Return whether operations are called only with short literals. Other calls may be slow to estimate.

        With ``mod`` or ``%``, return whether there is no call at all, because the cost of a call's residue depends on
        the prime factors of the modulus. Return False for two or more loops, and for a loop together with a call or a
        division, because the body of a loop is estimated several times.
        """
        (text,) = literals
        loops = len(self._loop.findall(text))
        if loops > 1 or (loops and ("/" in text or self._call.search(text))):
            return False
        rest = text if self._modulo.search(text) else self._quick_call.sub("", text)
        return self._call.search(rest) is None

    def steps(self, args: Expression, precision: int) -> Iterator[bytes] | None:
        return self._expressions.steps(args, precision)

    def result(self, args: Expression, precision: int, *, exact: bool) -> Verified:
        computed = self._expressions.compute(args, precision)
        return self.verified(args, precision, computed.text, exact=computed.exact)

    def verified(self, args: Expression, precision: int, text: bytes, *, exact: bool) -> Verified:
        computed = Verified(text, exact)
        for _ in range(_PRIMES):
            with suppress(ZeroDivisionError):  # the prime divides a denominator: draw another one
                if self._expressions.verify(args, precision, computed, random_prime()):
                    return computed._replace(exact=self._expressions.is_exact(args, computed))
                break
        raise VerificationFailed(f"evaluate {args.text[:200]} did not agree with its residue")
