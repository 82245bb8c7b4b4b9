"""Verification of results: right texts are accepted, and wrong ones rejected."""

from __future__ import annotations

import pytest

from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Modular
from pycalc.services.operations.factorial.residue import factorial_by_steps
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.modular import random_prime

CASES = [
    ("fibonacci", {"n": "1000"}),
    ("factorial", {"n": "150"}),
    ("factorial", {"n": "12000"}),
    ("pow", {"x": "7", "y": "150"}),
    ("pow", {"x": "-2.5", "y": "51"}),
    ("pow", {"x": "0.3", "y": "-40"}),
    ("pow", {"x": "15241578750190521", "y": "0.5"}),
    ("pow", {"x": "-152.41578750190521e5", "y": "-3"}),
    ("pow", {"x": "-7776e-10", "y": "0.2"}),
    ("pow", {"x": "2", "y": "0.3"}),
    ("pow", {"x": "2", "y": "1000.5"}),
]


@pytest.mark.parametrize(("name", "raw"), CASES)
def test_one_changed_digit_is_always_found(name: str, raw: dict[str, str]) -> None:
    """A text with a changed or inserted digit or the other sign is rejected, and so is a text that is no number."""
    operation = OPERATIONS[name]
    args = operation.parse(raw)
    text = operation.compute(args, 50)
    prime = random_prime()
    assert operation.verify(args, 50, text, prime)
    step = max(1, len(text) // 60)
    for index in range(0, len(text), step):
        head, digit, tail = text[:index], text[index : index + 1], text[index + 1 :]
        if digit.isdigit():
            assert not operation.verify(args, 50, head + str((int(digit) + 1) % 10).encode() + tail, prime)
            assert not operation.verify(args, 50, head + digit + b"1" + tail, prime)
    assert not operation.verify(args, 50, text[1:] if text.startswith(b"-") else b"-" + text, prime)
    for garbage in (b"", b"NaN", b"x", text + b"x"):
        assert not operation.verify(args, 50, garbage, prime)


def test_primes_are_random_primes_of_61_bits() -> None:
    """The primes for verification are random and have 61 bits, so that nobody can prepare a result to pass it."""
    primes = {random_prime() for _ in range(50)}
    assert len(primes) == 50
    assert all(prime.bit_length() == 61 and gmp.is_prime(prime) for prime in primes)


@pytest.mark.parametrize(
    "n", [*range(1, 70), 255, 256, 257, 1_023, 1_024, 1_025, 2_047, 2_048, 4_095, 4_096, 16_383, 16_384, 99_999]
)
def test_the_factorial_residue_in_square_root_time(n: int) -> None:
    """``factorial_by_steps`` gives n! modulo a prime, also for powers of two and their neighbours."""
    prime = random_prime()
    assert factorial_by_steps(n, prime) == gmp.fac(n) % prime


def test_a_prime_that_divides_an_operand_is_replaced() -> None:
    """If the verification's prime divides the nonzero base of an exact power, another prime is drawn.

    Modulo the first prime, the power is 0 or has no value, which proves nothing.
    """
    prime = 2**61 - 1
    power = OPERATIONS["pow"]
    for y, text in (("1", b"2305843009213693951"), ("-1", b"1/2305843009213693951")):
        args = power.parse({"x": str(prime), "y": y})
        assert power.verify(args, 50, text, prime)
        assert not power.verify(args, 50, text + b"1", prime)
    root = power.parse({"x": str(prime * prime), "y": "0.5"})
    assert power.verify(root, 50, str(prime).encode(), prime)


@pytest.mark.parametrize(("x", "y", "value"), [("1", "0.5", 1), ("0", "0.5", 0), ("-1", "0.2", -1), ("-1", "0.4", 1)])
def test_the_residue_of_a_root_of_0_or_1_is_verified(x: str, y: str, value: int) -> None:
    """The residues of roots of 0, 1 and -1 are verified: the right one is accepted, and wrong ones are rejected."""
    prime = 2**61 - 1
    power = OPERATIONS["pow"]
    assert isinstance(power, Modular)
    args = power.parse({"x": x, "y": y})
    assert [power.has_residue(args, (value + wrong) % prime, prime) for wrong in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "raw", "unrounded", "exact"),
    [
        ("pow", {"x": "2", "y": "0.5"}, False, False),
        ("pow", {"x": "4", "y": "0.5"}, True, True),
        ("iroot", {"n": "27", "k": "3"}, True, True),
        ("iroot", {"n": "28", "k": "3"}, True, False),
    ],
)
def test_a_result_is_exact_if_it_is_neither_rounded_nor_has_a_remainder(
    name: str, raw: dict[str, str], unrounded: bool, exact: bool
) -> None:
    """A rounded result is not exact, and neither is an integer root with a remainder."""
    operation = OPERATIONS[name]
    args = operation.parse(raw)
    assert operation.estimate(args, 20).exact == unrounded
    assert operation.result(args, 20, exact=unrounded).exact == exact
