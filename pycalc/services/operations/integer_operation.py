"""The base classes of operations on whole numbers: their operands are parsed, and growing sequences estimated."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pycalc.services.operations.base import Estimate, Modular, Operation, Summarisable, parse_all
from pycalc.services.operations.numbers.gmp import mpz, text_of
from pycalc.services.operations.numbers.growth import digits_by_logarithm, ends_by_logarithm
from pycalc.services.operations.numbers.intervals import Interval, IntervalArithmetic
from pycalc.services.operations.numbers.literals import integer_json, key_of, parse_integer
from pycalc.services.operations.numbers.texts import ENDS, Ends
from pycalc.services.operations.numbers.thresholds import Costs, seconds

Integers = tuple[int, ...]
_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
_LEAST = {"natural": 0, "positive": 1, "integer": None}  # the smallest number of each kind


class IntegerOperation(Operation[Integers]):
    """An operation on whole numbers, whose arguments are a tuple. ``docs/add-an-operation.md`` says how to add one."""

    def check(self, args: Integers) -> None:
        """Raise DomainError if there is no result, or InvalidInput if an operand is not accepted."""

    def parse(self, raw: Mapping[str, str]) -> Integers:
        args = tuple(
            parse_all(self.parameters, lambda each: parse_integer(raw, each.name, _LEAST[each.kind], each.longest))
        )
        self.check(args)
        return args

    def input(self, args: Integers) -> dict[str, int | str]:
        return {parameter.name: integer_json(value) for parameter, value in zip(self.parameters, args, strict=True)}

    def key(self, args: Integers, precision: int) -> str:
        return key_of(self.name, *map(text_of, args))


class SequenceOperation(IntegerOperation, Modular[Integers], Summarisable[Integers]):
    """A growing sequence of natural numbers a(0), a(1), ..., whose sizes are found from their logarithms."""

    number: ClassVar[Any]  # GMP's function of n that returns a(n)
    costs: ClassVar[Costs]  # seconds for a(n) and its verification, by its digits
    counted: ClassVar[int]  # below this n, the digits of a(n) are counted
    direct: ClassVar[int]  # below this n, a summary is read from a(n)
    summary_costs: ClassVar[Costs]  # seconds of a summary, by the bits of n
    logarithm_width: ClassVar[int] = 2  # the bits for the logarithm's whole part, divided by those of n

    @abstractmethod
    def logarithm(self, arithmetic: IntervalArithmetic, n: int) -> Interval:
        """Return an enclosure of log10 a(``n``), for n >= ``counted``."""

    @abstractmethod
    def approximate_logarithm(self, n: int) -> float:
        """Return log10 a(``n``), with an error below 10^-4, or any number of at least 10^9 if n is large."""

    def digits(self, n: int) -> int:
        """Return the exact number of decimal digits of a(``n``)."""
        if n < self.counted:
            return len(self.number(n).digits())
        bits = self.logarithm_width * n.bit_length() + 60
        return digits_by_logarithm(self.approximate_logarithm(n), lambda using: self.logarithm(using, n), bits)

    def last_digits(self, n: int) -> int:
        """Return a(``n``) modulo 10^20."""
        return self.modulo((n,), 10**ENDS)

    def estimate(self, args: Integers, precision: int) -> Estimate:
        digits = self.digits(args[0])
        return Estimate(digits, seconds(self.costs, digits), True, least=digits - 1)

    def compute(self, args: Integers, precision: int) -> bytes:
        return self.number(args[0]).digits().encode()  # type: ignore[no-any-return]

    def summary(self, args: Integers) -> Ends:
        (n,) = args
        if n < self.direct:
            return Ends.of_text(self.number(n).digits())
        bits = self.logarithm_width * n.bit_length() + 20
        return ends_by_logarithm(lambda using: self.logarithm(using, n), bits, self.last_digits(n))

    def summary_seconds(self, args: Integers) -> float:
        return seconds(self.summary_costs, args[0].bit_length())


def value_of(text: bytes) -> Any:
    """Return the GMP integer of a result's text, or None for a text that is not an integer in canonical form."""
    return mpz(text.decode()) if _INTEGER.fullmatch(text) else None


def digits_of_bits(bits: int) -> int:
    """Return an upper bound for the number of decimal digits of an integer with ``bits`` bits."""
    return bits * 30103 // 100_000 + 1
