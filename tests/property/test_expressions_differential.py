"""Values of random expressions, compared with Python's fractions and PARI/GP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import count, islice
from random import Random

import pytest

from pycalc.errors import DomainError, ResultTooLarge
from pycalc.services.operations import CALCULATIONS
from tests.harness import pari
from tests.harness.expressions import Drawn, NoValueError, TooLargeError, draw_long_loop, draw_whole, value_of, written

EVALUATE = CALCULATIONS["evaluate"]
SEED = 19
SHORT, LONG = 2_000, 20_000


def drawn() -> Iterator[Drawn]:
    """Yield random expression trees, each from its own seed."""
    for number in count():
        yield draw_whole(Random(SEED * 10**6 + number))  # noqa: S311  # no secrets


def evaluated(text: str) -> str:
    """Return an expression's verified value as text, after checking its canonical form and its estimate."""
    args = EVALUATE.parse({"expression": text})
    canonical = str(EVALUATE.input(args)["expression"])
    assert EVALUATE.parse({"expression": canonical}) == args
    estimate = EVALUATE.estimate(args, 0)
    result = EVALUATE.result(args, 0, exact=estimate.exact)
    value = result.text.decode()
    assert result.exact
    assert sum(character.isdigit() for character in value) <= estimate.digits
    return value


def fraction_of(text: str) -> Fraction | bool:
    """Return the value that a result's text represents."""
    if text in ("true", "false"):
        return text == "true"
    numerator, _, denominator = text.partition("/")
    return Fraction(numerator) / Fraction(denominator or "1")


def test_values_are_those_of_fractions() -> None:
    """Each value equals the one by fractions; expressions without a value are refused, limits refuse below 1 %."""
    compared = refused = 0
    for tree in islice(drawn(), SHORT):
        try:
            expected: Fraction | bool | None = value_of(tree)
        except NoValueError:
            expected = None
        except TooLargeError:
            continue
        try:
            found: Fraction | bool | None = fraction_of(evaluated(written(tree)))
        except DomainError:
            found = None
        except ResultTooLarge:
            refused += 1
            continue
        assert found == expected, written(tree)
        compared += 1
    assert compared > SHORT * 0.8
    assert refused < SHORT * 0.01


def test_long_sums_and_products_are_those_of_fractions() -> None:
    """What is computed for a whole block of terms, or from the differences of a polynomial, is the same number."""
    compared = without = 0
    for number in range(SHORT):
        tree = draw_long_loop(Random(SEED * 10**7 + number))  # noqa: S311  # no secrets
        try:
            expected: Fraction | bool | None = value_of(tree)
        except NoValueError:
            expected = None
        except TooLargeError:
            continue
        try:
            found: Fraction | bool | None = fraction_of(evaluated(written(tree)))
        except DomainError:
            found = None
        except ResultTooLarge:
            continue
        assert found == expected, written(tree)
        compared += 1
        without += found is None
    assert compared > SHORT * 0.6
    assert without < compared * 0.5


@pytest.mark.programs
def test_values_are_those_of_pari() -> None:
    """20,000 values equal those of PARI/GP and of Python's fractions."""
    compared: list[tuple[Drawn, Fraction | bool, str]] = []
    for tree in drawn():
        if len(compared) == LONG:
            break
        with suppress(NoValueError, ResultTooLarge, TooLargeError):
            compared.append((tree, value_of(tree), evaluated(written(tree))))
    found = pari.values([tree for tree, *_ in compared])
    assert len(found) == LONG
    for (tree, value, text), other in zip(compared, found, strict=True):
        assert fraction_of(text) == value == Fraction(other), written(tree)
