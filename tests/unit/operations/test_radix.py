"""Integers in other bases, compared with Python's own conversion."""

from __future__ import annotations

import json
from random import Random

import pytest

from pycalc.errors import InvalidInput, ResultTooLarge, VerificationFailed
from pycalc.services.calculations.planning import Options, make_plan
from pycalc.services.compute.worker import execute
from pycalc.services.operations.numbers.gmp import text_of
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import natural_residue
from pycalc.services.operations.radix import describe_in_base, in_base

LIMIT = 10_000


def read(text: bytes, base: int) -> int:
    """Return the number that a text represents, read digit by digit."""
    value = 0
    for digit in text.removeprefix(b"-").decode():
        value = value * base + int(digit, base)
    return -value if text.startswith(b"-") else value


@pytest.mark.parametrize("base", range(2, 37))
def test_a_text_in_a_base_is_the_same_number(base: int) -> None:
    """In every base, small and long numbers of both signs are right and have no leading zeros."""
    random = Random(base)  # noqa: S311  # operands, no secrets
    numbers = [
        *range(-40, 41),
        base**7 - 1,
        base**7,
        *(random.getrandbits(random.randint(1, 7_000)) for _ in range(40)),
    ]
    for number in (sign * each for each in numbers for sign in (1, -1)):
        text = in_base(text_of(number).encode(), True, base)
        assert read(text, base) == number
        assert text.removeprefix(b"-")[:1] != b"0" or number == 0
        assert set(text.removeprefix(b"-")) <= set(b"0123456789abcdefghijklmnopqrstuvwxyz"[:base])
        prime = random_prime()
        assert natural_residue(text.removeprefix(b"-"), prime, base) == abs(number) % prime


def test_one_wrong_digit_is_noticed() -> None:
    """Changing a digit of a long number in base 36 changes its residue modulo a random prime."""
    text = in_base(str(7**5_000).encode(), True, 36)
    prime = random_prime()
    for place in range(0, len(text), 97):
        wrong = bytearray(text)
        wrong[place] = ord("0") if wrong[place] != ord("0") else ord("1")
        assert natural_residue(bytes(wrong), prime, 36) != pow(7, 5_000, prime)


def test_a_text_of_more_than_1000_digits_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of 1,001 digits with a wrong residue raises VerificationFailed; shorter texts are not verified."""
    monkeypatch.setattr("pycalc.services.operations.radix.natural_residue", lambda text, prime, base=10: base)
    assert in_base(b"9" * 1_000, True, 16) == format(10**1_000 - 1, "x").encode()
    with pytest.raises(VerificationFailed):
        in_base(b"9" * 1_001, True, 16)


def test_letters_count_as_digits() -> None:
    """In other bases, letters such as e count as digits, also among the first and last digits; the sign does not."""
    assert describe_in_base(b"-1e5") == (3, "1e5", "1e5")
    text = format(2**100 - 1, "x").encode()
    assert describe_in_base(text) == (25, "f" * 20, "f" * 20)


@pytest.mark.parametrize(
    ("text", "exact"), [(b"1.5", True), (b"1/3", True), (b"true", True), (b"1e20", False), (b"141", False)]
)
def test_only_an_exact_integer_has_another_base(text: bytes, exact: bool) -> None:
    """Another base for a decimal, fraction, boolean or rounded integer is refused, with the pointer to ``base``."""
    with pytest.raises(InvalidInput) as caught:
        in_base(text, exact, 16)
    assert [problem.pointer for problem in caught.value.problems] == ["/base"]


@pytest.mark.parametrize(("base", "digits"), [(2, 9_999), (3, 6_309), (16, 2_500), (36, 1_934)])
def test_the_plan_counts_the_digits_of_the_base(base: int, digits: int) -> None:
    """A plan's digit count is right for the base, or too high by one; the cache key and the input contain the base."""
    plan = make_plan(LIMIT, "pow", ("2", "9998"), Options(base=base))
    text, facts = execute(plan.task)
    assert (len(text or b""), facts.digits) == (digits, str(digits))
    assert digits <= plan.digits <= digits + 1
    assert (plan.key, json.loads(plan.input)["base"]) == (f"pow:2:9998&base={base}", base)


@pytest.mark.parametrize(("y", "base"), [(10_000, 2), (33_300, 9), (52_000, 36)])
def test_a_text_over_the_limit_is_refused(y: int, base: int) -> None:
    """If a result has too many digits in the base, the error names limit and base, but not the exact size."""
    with pytest.raises(ResultTooLarge, match=f"10,000 digits in base {base}") as caught:
        make_plan(LIMIT, "pow", ("2", str(y)), Options(base=base))
    assert (caught.value.digits, caught.value.limit) == (None, LIMIT)
