"""n! modulo numbers with large prime factors, and the verification of long residues."""

from __future__ import annotations

import math
from typing import Any

import flint  # type: ignore[import-untyped,unused-ignore]
import pytest

from pycalc.services.operations.factorial.modulo import FactorialPlan, plan_factorial
from pycalc.services.operations.factorial.operation import Factorial
from pycalc.services.operations.factorial.residue import largest_inverted
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.primes import primes_up_to
from tests.harness.mission import THREE

FACTORIAL = THREE["factorial"]
FMPZ: Any = flint.fmpz
LONG_PRIME = 7 * 10**1_001 + 6_967


def product_of(n: int) -> int:
    """Return n! as FLINT computes it."""
    return int(FMPZ.fac_ui(n))


def by_wilson(n: int, prime: int) -> int:
    """Return n! modulo a prime a little above n, from (p - 1)! = -1."""
    return -pow(math.prod(range(n + 1, prime)), -1, prime) % prime


@pytest.mark.parametrize("n", [20_000, 25_281, 65_535, 65_536, 99_999])
def test_each_prime_near_the_square_root(n: int) -> None:
    """The residue of n! modulo p·q equals FLINT's for primes p from sqrt(n)/2 to 4·sqrt(n) + 200 and a prime q."""
    beyond = int(gmp.next_prime(10 * n))
    product = product_of(n)
    primes = [prime for prime in primes_up_to(largest_inverted(n) + 200) if prime > math.isqrt(n) // 2]
    for prime in primes[:: max(1, len(primes) // 60)]:
        modulus = prime * beyond
        assert FACTORIAL.modulo((n,), modulus) == product % modulus


def test_no_prime_makes_the_steps_fail() -> None:
    """The residue of n! is right, even if the modulus has prime factors above sqrt(n) that were not searched for."""
    n = 30_011
    product = product_of(n)
    beyond = int(gmp.next_prime(2**70))
    for prime in primes_up_to(4 * largest_inverted(n)):
        if prime > math.isqrt(n):
            modulus = prime**2 * beyond
            assert FactorialPlan(1, modulus).residue(n) == product % modulus
    all_of_them = math.prod(prime for prime in primes_up_to(n) if prime > math.isqrt(n)) * beyond
    assert FactorialPlan(1, all_of_them).residue(n) == product % all_of_them


@pytest.mark.parametrize("prime", [14_143, 14_149, 28_289, 56_569, 56_591, 1_000_003])
def test_a_factorial_too_large_to_multiply_out(prime: int) -> None:
    """(2·10^8)! modulo p·q·r is right for p near sqrt(n) or beyond, and the first two primes q and r above n.

    The expected residue is 0 modulo p, and follows from Wilson's theorem modulo q and modulo r.
    """
    n = 200_000_000
    first = int(gmp.next_prime(n))
    second = int(gmp.next_prime(first))
    plan = FACTORIAL.plan_modulo((n,), prime * first * second)
    residue = FACTORIAL.modulo((n,), prime * first * second, plan.method)
    assert not plan.method.whole
    assert residue % prime == 0
    assert residue % first == by_wilson(n, first)
    assert residue % second == by_wilson(n, second)


def test_factors_beyond_trial_division() -> None:
    """The residue of n! is right if the modulus has prime factors above 100, but none above 100 were searched for."""
    n = 50_000
    modulus = 227 * 449 * 883 * int(gmp.next_prime(2**61))
    assert FactorialPlan(1, modulus, searched=100).residue(n) == product_of(n) % modulus


def test_exponents_are_not_counted_further_than_needed() -> None:
    """``plan_factorial`` finds that n! is 0 modulo n + 1, if n + 1 has 7,500 digits and only small prime factors."""
    modulus = math.prod(primes_up_to(17_377))
    plan = plan_factorial(2 * modulus - 1, 2 * modulus)
    assert (plan.smooth, plan.rough, plan.whole) == (2 * modulus, 1, False)
    assert plan.residue(2 * modulus - 1) == 0


@pytest.mark.parametrize(("prime", "n"), [(3, 20_000), (101, 20_100), (20_011, 20_011)])
def test_a_prime_power_that_does_not_divide(prime: int, n: int) -> None:
    """The residue of n! modulo p^e·q is right if e is the exponent of the prime p in n!, one less, or one more."""
    exponent = sum(n // prime**k for k in range(1, 20))
    product = product_of(n)
    for power in (exponent - 1, exponent, exponent + 1):
        modulus = prime**power * 1_000_003
        assert FACTORIAL.modulo((n,), modulus) == product % modulus


class TestChecks:
    """The verification of a long residue by another method."""

    @pytest.mark.parametrize(
        ("n", "modulus"),
        [
            (LONG_PRIME - 4, LONG_PRIME),
            (LONG_PRIME - 5, LONG_PRIME),
            (LONG_PRIME - 5, 6 * LONG_PRIME),
            (500, 10**1_100 + 7),
            (20_000, 2**200 * (10**1_100 + 7)),
        ],
        ids=["wilson, odd", "wilson, even", "wilson, composite", "product", "steps"],
    )
    def test_right_and_wrong(self, n: int, modulus: int) -> None:
        """The verification accepts the right residue, and rejects one more, one less and 0."""
        args = (n,)
        plan = FACTORIAL.plan_modulo(args, modulus)
        residue = FACTORIAL.modulo(args, modulus, plan.method)
        assert FACTORIAL.verify_modulo(args, modulus, plan.method, residue, random_prime())
        for wrong in (residue + 1, residue - 1, 0):
            assert not FACTORIAL.verify_modulo(args, modulus, plan.method, wrong, random_prime())

    def test_just_below_a_long_prime_few_factors_are_multiplied(self) -> None:
        """(p - 4)! modulo a prime p of 1,002 digits takes a product of 3 factors, which is estimated below 1 ms."""
        plan = Factorial().plan_modulo((LONG_PRIME - 4,), LONG_PRIME)
        residue = plan.method.residue(LONG_PRIME - 4)
        assert residue * 6 % LONG_PRIME == 1
        assert plan.method.mirror == 3
        assert plan.seconds < 0.001
