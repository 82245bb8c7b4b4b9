"""Results modulo m, for operands whose full results can't be written out."""

from __future__ import annotations

import math

import pytest

from pycalc.errors import DomainError
from pycalc.services.operations.numbers.gmp import gmp
from tests.harness.mission import THREE

FACTORIAL = THREE["factorial"]


def modulo(operation: str, raw: dict[str, str], modulus: int) -> int:
    """Return the residue, after checking that its estimate is above 0 and below 30 s."""
    args = THREE[operation].parse(raw)
    assert 0 < THREE[operation].plan_modulo(args, modulus).seconds < 30
    return int(THREE[operation].modulo(args, modulus))


@pytest.mark.parametrize("modulus", [1, 2, 3, 4, 5, 7, 10, 25, 100, 1_000, 2**64, 10**40 + 7])
def test_small_results_modulo_anything(modulus: int) -> None:
    """For n below 60, F(n), n! and (-7)^n modulo m equal the remainders of the full numbers."""
    for n in range(60):
        assert modulo("fibonacci", {"n": str(n)}, modulus) == gmp.fib(n) % modulus
        assert modulo("factorial", {"n": str(n)}, modulus) == math.factorial(n) % modulus
        assert modulo("pow", {"x": "-7", "y": str(n)}, modulus) == (-7) ** n % modulus


def test_fibonacci_indices_of_a_thousand_digits() -> None:
    """F(n) modulo m repeats with a period: 60 for 10, 3·2^15 for 2^16, and 2·(p + 1) for the prime p = 10^9 + 7."""
    n = 10**1000 + 12_345
    assert modulo("fibonacci", {"n": str(gmp.mpz(n))}, 10) == gmp.fib(n % 60) % 10
    assert modulo("fibonacci", {"n": str(gmp.mpz(n))}, 2**16) == gmp.fib(n % (3 * 2**15)) % 2**16
    assert modulo("fibonacci", {"n": str(gmp.mpz(n))}, 1_000_000_007) == modulo(
        "fibonacci", {"n": str(n % (2 * 1_000_000_008))}, 1_000_000_007
    )


def test_exponents_of_a_thousand_digits() -> None:
    """x^y mod p depends on y mod p-1 alone (Fermat's little theorem)."""
    prime, y = 2**61 - 1, 7 * 10**1000 + 3
    assert modulo("pow", {"x": "3", "y": str(gmp.mpz(y))}, prime) == pow(3, y % (prime - 1), prime)
    assert modulo("pow", {"x": "3", "y": "-" + str(gmp.mpz(y))}, prime) == pow(3, -y % (prime - 1), prime)
    assert modulo("pow", {"x": "3", "y": "7e9000"}, prime) == pow(3, 7 * pow(10, 9_000, prime - 1), prime)


@pytest.mark.parametrize(
    ("x", "y", "modulus"), [("2", "-1", 10), ("0.5", "3", 4), ("6", "-2", 9), ("0.1", "1", 15), ("1/6", "1", 4)]
)
def test_no_inverse_no_residue(x: str, y: str, modulus: int) -> None:
    """If the denominator of a power shares a factor with the modulus, DomainError is raised."""
    with pytest.raises(DomainError):
        modulo("pow", {"x": x, "y": y}, modulus)


@pytest.mark.parametrize(
    ("x", "y", "modulus", "residue"),
    [
        ("3", "-1", 7, 5),
        ("3", "-2", 7, 4),
        ("-3", "-1", 7, 2),
        ("0.5", "1", 9, 5),
        ("0.5", "-3", 9, 8),
        ("2.5", "2", 7, pow(4, -1, 7) * 25 % 7),
        ("0.6", "-1", 8, pow(3, -1, 8) * 5 % 8),
        ("4", "0.5", 10, 2),
        ("-32", "0.2", 10, 8),
        ("9", "-0.5", 10, 7),
        ("0", "0", 10, 1),
        ("0", "0", 1, 0),
        ("3", "-1", 1, 0),
        ("1e1000000000000", "1", 7, pow(10, 10**12, 7)),
    ],
)
def test_rationals_modulo_m(x: str, y: str, modulus: int, residue: int) -> None:
    """A rational's residue is its numerator times the inverse of its denominator in lowest terms."""
    assert modulo("pow", {"x": x, "y": y}, modulus) == residue


def test_an_irrational_number_has_no_residue() -> None:
    """sqrt(2) modulo 7 raises DomainError, although 3^2 is 2 modulo 7."""
    with pytest.raises(DomainError):
        modulo("pow", {"x": "2", "y": "0.5"}, 7)


@pytest.mark.parametrize(
    "modulus",
    [
        10**9 + 7,
        2**61 - 1,
        10**18,
        10**30 + 57,
        2**4 * 10**9 + 3,
        99_991 * 99_989,
        50_021**2,
        2**40_000,
        (10**9 + 7) * 2**20,
        3**20_000,
    ],
    ids=lambda modulus: f"{modulus.bit_length()} bits",
)
def test_factorials_modulo_all_kinds_of_numbers(modulus: int) -> None:
    """Factorials modulo primes, smooth numbers, squares and products equal the remainders of the full numbers."""
    for n in (19_999, 20_000, 50_020, 50_021, 65_536, 100_041):
        assert modulo("factorial", {"n": str(n)}, modulus) == gmp.fac(n) % modulus


def test_factorials_with_a_huge_argument() -> None:
    """The residue of n! is 0 if n >= m or a smooth m divides n!; for n just below a prime m, Wilson's theorem holds."""
    prime = 2**61 - 1
    assert modulo("factorial", {"n": "9" * 5_000}, prime) == 0
    assert modulo("factorial", {"n": str(prime - 1)}, prime) == prime - 1
    assert modulo("factorial", {"n": str(prime - 2)}, prime) == 1
    assert modulo("factorial", {"n": str(prime - 3)}, prime) == (prime - 1) // 2
    assert modulo("factorial", {"n": str(10**18)}, 10**20) == 0
    half = math.factorial(100_003 // 2) % 100_003
    assert modulo("factorial", {"n": str(100_003 // 2)}, 100_003) == half


def test_an_endless_computation_is_estimated_as_such() -> None:
    """For n >= 10^18, the estimate of n! modulo a much larger prime is over 1,000 s, so that it is not started."""
    args = FACTORIAL.parse({"n": str(10**18)})
    assert FACTORIAL.plan_modulo(args, 10**40 + 121).seconds > 1_000
    absurd = FACTORIAL.parse({"n": gmp.mpz(2**19_900).digits()})
    assert FACTORIAL.plan_modulo(absurd, 2**19_937 - 1).seconds > 1_000
