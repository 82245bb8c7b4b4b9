"""The base class of operations on whole numbers, which parses their operands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pycalc.services.operations.base import Operation, Parameter, parse_all
from pycalc.services.operations.numbers.gmp import mpz, text_of
from pycalc.services.operations.numbers.literals import integer_json, key_of, parse_integer

Integers = tuple[int, ...]
_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
_LEAST = {"natural": 0, "positive": 1, "integer": None}  # the smallest number of each kind


class IntegerOperation(Operation[Integers]):
    """An operation on whole numbers. Its arguments are a tuple in the order of ``parameters``.

    ``docs/add-an-operation.md`` explains how to add an operation: a file in ``functions`` with a subclass and its
    instance ``OPERATION``.
    """

    def check(self, args: Integers) -> None:
        """Raise DomainError if there is no result, or InvalidInput if an operand is not accepted."""

    def parse(self, raw: Mapping[str, str]) -> Integers:
        def value(operand: Parameter) -> int:
            return parse_integer(raw, operand.name, _LEAST[operand.kind], operand.longest)

        args = tuple(parse_all(self.parameters, value))
        self.check(args)
        return args

    def input(self, args: Integers) -> dict[str, int | str]:
        return {parameter.name: integer_json(value) for parameter, value in zip(self.parameters, args, strict=True)}

    def key(self, args: Integers, precision: int) -> str:
        return key_of(self.name, *map(text_of, args))


def value_of(text: bytes) -> Any:
    """Return the GMP integer of a result's text, or None for a text that is not an integer in canonical form."""
    return mpz(text.decode()) if _INTEGER.fullmatch(text) else None


def digits_of_bits(bits: int) -> int:
    """Return an upper bound for the number of decimal digits of an integer with ``bits`` bits."""
    return bits * 30103 // 100_000 + 1
