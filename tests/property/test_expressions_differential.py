"""Values of random expressions, compared with Python's fractions and PARI/GP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def compared(trees: Iterable[Drawn]) -> tuple[int, int, int]:
    """Compare the value of each expression tree with the one that Python's fractions give, and return three counts.

    The counts are: how many trees agree, how many of these have no value, and how many trees a limit refuses. Trees
    that are too large for the fractions are skipped.
    """
    agreed = without = refused = 0
    for tree in trees:
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
        agreed += 1
        without += found is None
    return agreed, without, refused


def test_values_are_those_of_fractions() -> None:
    """Expressions have the value that Python's fractions give, or no value if these give none.

    Limits refuse fewer than 1 % of the expressions.
    """
    agreed, _, refused = compared(islice(drawn(), SHORT))
    assert agreed > SHORT * 0.8
    assert refused < SHORT * 0.01


def test_long_sums_and_products_are_those_of_fractions() -> None:
    """Long sums and products, computed in blocks or by Newton's differences, equal those by Python's fractions."""
    seeds = (SEED * 10**7 + number for number in range(SHORT))
    agreed, without, _ = compared(draw_long_loop(Random(seed)) for seed in seeds)  # noqa: S311  # no secrets
    assert agreed > SHORT * 0.6
    assert without < agreed * 0.5


@pytest.mark.programs
def test_values_are_those_of_pari() -> None:
    """20,000 values equal those of PARI/GP and of Python's fractions."""
    pairs: list[tuple[Drawn, Fraction | bool, str]] = []
    for tree in drawn():
        if len(pairs) == LONG:
            break
        with suppress(NoValueError, ResultTooLarge, TooLargeError):
            pairs.append((tree, value_of(tree), evaluated(written(tree))))
    found = pari.values([tree for tree, *_ in pairs])
    assert len(found) == LONG
    for (tree, value, text), other in zip(pairs, found, strict=True):
        assert fraction_of(text) == value == Fraction(other), written(tree)
