"""Powers x^y of rational literals, which are exact if a finite exact answer exists, and otherwise correctly rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pycalc.errors import DomainError, FieldProblem, InvalidInput
from pycalc.services.operations.base import Estimate, Modular, Parameter, ResiduePlan, Summarisable, parse_all
from pycalc.services.operations.numbers import thresholds
from pycalc.services.operations.numbers.gmp import text_of
from pycalc.services.operations.numbers.literals import (
    LONGEST_OPERAND,
    MAX_LITERAL,
    RationalLiteral,
    key_of,
    parse_rational,
)
from pycalc.services.operations.numbers.modular import gcd_seconds
from pycalc.services.operations.numbers.texts import Ends, digits_residue, inverse
from pycalc.services.operations.power.exact_text import ExactText, exact_text
from pycalc.services.operations.power.rational import ExactPower, exact_power, fraction_of, is_trivial, power_modulo
from pycalc.services.operations.power.rounded import encloses, rounded_power

_LONGEST_BASE = MAX_LITERAL * 3322 // 1000  # bits; a longer base needs a modulus
_REDUCED_SECONDS_PER_BIT = 3e-10  # to reduce the base modulo a shorter number, for each bit of the base
# An exponent y with more digits before its point than this is accepted only if x is 0, 1 or -1. The length of a literal
# does not bound these digits, because a hexadecimal one of 10,000 characters has up to 12,039 of them.
MAX_DIGITS = 10_000


@dataclass(frozen=True, slots=True)
class PowerArgs:
    """The base and the exponent, and their exact power."""

    x: RationalLiteral
    y: RationalLiteral
    value: ExactPower | None = field(compare=False, repr=False)  # None: the power is irrational
    exact: ExactText | None = field(compare=False, repr=False)  # the text of ``value``


class Power(Modular[PowerArgs], Summarisable[PowerArgs]):
    """The power x^y of real numbers. 0^0 is 1, and an odd root of a negative number is real, as in (-32)^0.2 = -2."""

    name = "pow"
    title = "Power"
    description = (
        "x to the power y: in full where the result is an integer or a terminating decimal, as p/q in lowest terms "
        "where it is another rational, and otherwise correctly rounded to `precision` significant digits."
    )
    parameters = (
        Parameter("x", "rational", "The base, a decimal number or a fraction such as 2/3.", "2.5", LONGEST_OPERAND),
        Parameter("y", "rational", "The exponent, a decimal number or a fraction such as 2/3.", "-3"),
    )

    def parse(self, raw: Mapping[str, str]) -> PowerArgs:
        x, y = parse_all(self.parameters, lambda operand: parse_rational(raw, operand.name, operand.longest))
        if not is_trivial(x) and y.exponent >= 0 and y.exponent + len(text_of(abs(y.unscaled))) > MAX_DIGITS:
            detail = f"y must be above -10^{MAX_DIGITS} and below 10^{MAX_DIGITS}, unless x is 0, 1 or -1."
            raise InvalidInput.of(FieldProblem("/y", detail))
        value = exact_power(x, y)
        return PowerArgs(x, y, value, None if value is None else exact_text(value))

    def input(self, args: PowerArgs) -> dict[str, int | str]:
        return {"x": args.x.json(), "y": args.y.json()}

    def key(self, args: PowerArgs, precision: int) -> str:
        rounding = [] if args.exact else [f"precision={precision}"]
        return key_of(self.name, args.x.text(), args.y.text(), *rounding)

    def estimate(self, args: PowerArgs, precision: int) -> Estimate:
        exact = args.exact
        if max(args.x.unscaled.bit_length(), args.x.denominator.bit_length()) > _LONGEST_BASE:
            detail = f"x must have at most {MAX_LITERAL:,} digits, or be taken with mod."
            raise InvalidInput.of(FieldProblem("/x", detail))
        if exact is None:
            parts = (args.x.unscaled, args.x.denominator, args.y.unscaled, args.y.denominator)
            size = sum(len(text_of(part)) for part in parts)
            seconds = thresholds.seconds(thresholds.ROUNDED_SECONDS, precision)
            return Estimate(precision, seconds + thresholds.ROUNDED_SECONDS_PER_DIGIT * size, False)
        digits, seconds = 0, 0.0
        for significant, written in [term.sizes() for term in exact.terms]:
            digits += written
            seconds += thresholds.seconds(thresholds.POWER_SECONDS, significant)
        return Estimate(digits, seconds + min(digits, 10**300) * thresholds.TEXT_SECONDS_PER_DIGIT, True)

    def compute(self, args: PowerArgs, precision: int) -> bytes:
        if args.exact is not None:
            return args.exact.encode()
        return rounded_power(args.x, args.y, precision).text().encode()

    def residue(self, args: PowerArgs, precision: int, prime: int) -> int | None:
        if not args.y.is_integer:
            return None
        if args.x.unscaled == 0:
            return int(args.y.unscaled == 0)
        # By Fermat's little theorem, any exponent may be reduced modulo p - 1, also a negative one.
        exponent = args.y.unscaled * pow(10, args.y.exponent, prime - 1) % (prime - 1)
        return pow(_base_residue(args.x, prime), exponent, prime)

    def _agrees(self, args: PowerArgs, precision: int, text: bytes, prime: int) -> bool:
        """Return whether ``text`` is the result: a rounded value by its logarithm, another one by its residue."""
        if args.exact is None:
            return encloses(args.x, args.y, precision, text)
        value = digits_residue(text, prime)
        signed = args.y.is_integer or text.startswith(b"-") == args.exact.negative
        return value is not None and signed and self.has_residue(args, value, prime)

    def has_residue(self, args: PowerArgs, value: int, prime: int) -> bool:
        """Return whether ``value`` is the result modulo ``prime``. A root r = x^(a/b) is one if r^b = x^a."""
        if args.y.is_integer:
            return super().has_residue(args, value, prime)
        if args.exact is not None and is_trivial(args.x):
            return int(args.exact.encode()) % prime == value
        numerator, _, degree = fraction_of(args.y)
        expected = pow(_base_residue(args.x, prime), numerator % (prime - 1), prime)
        return degree is not None and pow(value, degree, prime) == expected

    def summary(self, args: PowerArgs) -> Ends:
        if args.exact is None:
            raise DomainError("The result is irrational: only a rational one has a summary.")
        return args.exact.ends()

    def summary_seconds(self, args: PowerArgs) -> float:
        return sum([term.ends_seconds() for term in args.exact.terms]) if args.exact else 0.0

    def plan_modulo(self, args: PowerArgs, modulus: int) -> ResiduePlan:
        value = args.value
        if value is None:
            return ResiduePlan(thresholds.RESIDUE_OVERHEAD)
        # A power of 2 or 5 with an exponent below 8 is shorter than most moduli.
        exponents = sum(max(0, abs(part).bit_length() - 3) for part in (value.twos, value.fives))
        exponents += max(0, abs(value.power).bit_length() - 1)
        twos = (modulus & -modulus).bit_length() - 1
        a_bit = thresholds.seconds(thresholds.POWER_RESIDUE_SECONDS, modulus.bit_length() - twos)
        if twos > value.power or (twos and value.twos <= 0):
            # GMP computes modulo the power of two in m separately, which is much cheaper if that power is long. Modulo
            # that power, a high power of an even base is 0 at once.
            a_bit += max(1.2e-8, thresholds.seconds(thresholds.POWER_RESIDUE_SECONDS, twos) / 4)
        whole = min(value.twos, value.fives, value.power) >= 0 and value.below == 1
        division = 0.0 if whole else 3 * gcd_seconds(modulus, modulus)
        reduction = _REDUCED_SECONDS_PER_BIT * (value.rest.bit_length() + value.below.bit_length())
        return ResiduePlan(2 * thresholds.RESIDUE_OVERHEAD + (1 + exponents) * a_bit + division + reduction)

    def modulo(self, args: PowerArgs, modulus: int, method: Any = None) -> int:
        if args.value is None:
            raise DomainError("The result is irrational: only a rational one has a residue.")
        return power_modulo(args.value, modulus)


def _base_residue(x: RationalLiteral, prime: int) -> int:
    residue = x.unscaled * pow(10, x.exponent, prime) * inverse(x.denominator, prime) % prime
    if residue == 0:
        raise ZeroDivisionError("the prime divides the base")
    return residue
