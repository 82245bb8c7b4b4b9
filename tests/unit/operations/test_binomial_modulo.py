"""Residues and summaries of binomial coefficients and Catalan numbers, found without computing these numbers."""

from __future__ import annotations

import math
import subprocess
from random import Random
from typing import cast

import gmpy2
import pytest

from pycalc.errors import InvalidInput
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Modular, Summarisable
from pycalc.services.operations.binomials.modulo import BinomialPlan, plan_binomial
from pycalc.services.operations.binomials.prime_powers import (
    carries,
    modulo_prime,
    modulo_prime_power,
    modulo_prime_power_seconds,
    modulo_prime_seconds,
)
from pycalc.services.operations.binomials.residue import sieved_residue
from pycalc.services.operations.integer_operation import Integers

BINOMIAL, CATALAN = (cast("Modular[Integers]", OPERATIONS[name]) for name in ("binomial", "catalan"))
# Moduli: powers of small primes, primes up to n and above, their squares, and products of these.
MODULI = (
    1, 2**64, 5**40, 10**30, 997**3, 30_011, 30_011**2, 2**61 - 1, (2**61 - 1) * (2**31 - 1),
    6**20 * 30_011 * (2**89 - 1),
)  # fmt: skip
# A program for PARI/GP: n over k modulo m, as the product over all primes p <= n of p to its exponent in n over k.
PARI = """\
residue(n, k, m) = {
  my(r = Mod(1, m), e, q);
  forprime(p = 2, n, e = 0; q = p; while(q <= n, e += n\\q - k\\q - (n - k)\\q; q *= p); if(e, r *= Mod(p, m)^e));
  return(lift(r));
};
"""


def residue(n: int, k: int, modulus: int) -> int:
    """Return n over k modulo ``modulus``; assert that the coefficient itself is not computed."""
    plan: BinomialPlan = plan_binomial(n, min(k, n - k), modulus).method
    assert not plan.whole
    return plan.residue(n, min(k, n - k))


def test_residues_are_those_of_pari() -> None:
    """For 200 random coefficients with n from 20,000 to 80,000, residues modulo all kinds of numbers equal PARI's."""
    random = Random(19)  # noqa: S311  # operands, no secrets
    cases = []
    for _ in range(200):
        n = random.randint(20_000, 80_000)
        cases.append((n, random.randint(0, n), random.choice([*MODULI, random.randint(1, 10**12)])))
    program = PARI + "\n".join(f"print(residue({n}, {k}, {m}))" for n, k, m in cases) + "\n"
    command = ["gp", "--quiet", "--fast", "--stacksize", "200M"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=300, check=True)
    assert [residue(*case) for case in cases] == [int(line) for line in done.stdout.splitlines()]


def test_prime_powers_agree_with_the_coefficients() -> None:
    """For n below 130, ``carries`` counts how often a prime divides n over k; residues modulo its powers are right."""
    for prime, exponent in ((2, 1), (2, 9), (3, 4), (5, 3), (7, 1), (11, 2)):
        modulus = prime**exponent
        for n in range(130):
            for k in range(n + 1):
                expected, carried = math.comb(n, k), carries(n, k, prime)
                assert expected % prime**carried == 0 != expected % prime ** (carried + 1)
                assert modulo_prime_power(n, k, prime, exponent) == expected % modulus
                if carried == 0:
                    assert modulo_prime(n, k, prime) == expected % prime


@pytest.mark.parametrize(
    ("n", "prime", "exponent", "seconds"),
    [
        (10**18, 2, 64, 4.1e-3), (10**18, 2, 1_000, 0.12), (10**6, 2, 1_000, 0.057), (10**18, 3, 500, 0.077),
        (10**18, 5, 40, 2.8e-3), (10**18, 7, 300, 0.13), (20_000, 7, 3, 5.6e-5), (10**6, 101, 20, 5.0e-3),
        (10**18, 997, 3, 7.1e-3), (10**18, 30_011, 2, 0.085), (10**100, 2, 64, 0.033), (10**100, 2, 1_000, 1.26),
    ],
)  # fmt: skip
def test_the_time_for_a_residue_modulo_a_prime_power(n: int, prime: int, exponent: int, seconds: float) -> None:
    """The estimated time of n over k modulo a prime power is within a factor of two of that measured for k = n/3."""
    assert seconds / 2 < modulo_prime_power_seconds(n, prime, exponent) < seconds * 2


@pytest.mark.parametrize(
    ("n", "prime", "seconds"), [(10**18, 997, 1.0e-4), (10**18, 30_011, 1.8e-3), (10**1_000, 7, 2.1e-3)]
)
def test_the_time_for_a_residue_modulo_a_prime(n: int, prime: int, seconds: float) -> None:
    """The estimated time of n over k modulo a prime p is one to eight times the measured time.

    The time was measured for a k whose digits in base p are half of those of n.
    """
    assert seconds < modulo_prime_seconds(n, prime) < seconds * 8


@pytest.mark.parametrize("modulus", MODULI)
@pytest.mark.parametrize("n", [10**18, 10**18 - 1, 2**60 - 1, 30_011**3 + 5])
def test_n_may_be_10_to_the_18(n: int, modulus: int) -> None:
    """For n up to 10^18, residues equal ``math.comb`` for small k; for large k and 7 moduli, Pascal's rule holds."""
    for k in (0, 1, 5, 1_500):
        assert residue(n, k, modulus) == math.comb(n, k) % modulus
    if modulus in (1, 2**64, 5**40, 10**30, 997**3, 30_011, 30_011**2):
        for k in (30_011**2, n // 3):
            assert (residue(n - 1, k - 1, modulus) + residue(n - 1, k, modulus) - residue(n, k, modulus)) % modulus == 0


def test_the_residue_of_a_negative_n_has_its_sign() -> None:
    """For a negative n and for k > n, two methods agree on n over k modulo a prime; a wrong residue is rejected."""
    for n, k in ((-30, 7), (-30, 8), (30, 7), (7, 30), (0, 0), (-1, 5), (-40_000, 21_001)):
        args = BINOMIAL.parse({"n": str(n), "k": str(k)})
        value = int(BINOMIAL.residue(args, 50, 2**61 - 1) or 0)
        assert BINOMIAL.modulo(args, 2**61 - 1) == value
        assert BINOMIAL.verify_modulo(args, 10**9, None, BINOMIAL.modulo(args, 10**9), 7)
        assert not BINOMIAL.verify_modulo(args, 10**9, None, BINOMIAL.modulo(args, 10**9) + 1, 7)


def test_a_residue_of_a_negative_n_is_verified_without_factors_that_planning_did_not_need() -> None:
    """A residue that is found without factoring ``mod`` is verified without factoring it, also for a negative n."""
    args, hard = (-1_000_001, 10**36), (2**89 - 1) * (2**107 - 1)
    plan = BINOMIAL.plan_modulo(args, hard)
    value = BINOMIAL.modulo(args, hard, plan.method)
    assert BINOMIAL.verify_modulo(args, hard, plan.method, value, 7)
    assert not BINOMIAL.verify_modulo(args, hard, plan.method, value + 1, 7)


def test_a_prime_that_divides_the_coefficient_costs_no_more_in_the_verification() -> None:
    """A residue is verified without a residue modulo a long prime that divides n over k.

    Such a residue may take for ever.
    """
    prime = 10**30 + 57
    args, modulus = (prime, prime // 3), prime * 2**20
    plan = BINOMIAL.plan_modulo(args, modulus)
    assert plan.seconds < 1
    value = BINOMIAL.modulo(args, modulus, plan.method)
    assert value % prime == 0
    assert value % 2**20 == residue(*args, 2**20)
    assert BINOMIAL.verify_modulo(args, modulus, plan.method, value, 7)
    assert not BINOMIAL.verify_modulo(args, modulus, plan.method, (value + prime) % modulus, 7)


def test_a_wrong_number_of_carries_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A residue that is 0 only because ``carries`` is wrong does not agree: the check does not use ``carries``."""
    args = (100_000, 50 * 997 + 100)  # 997 divides neither the coefficient nor the terms of Pascal's rule
    right = BINOMIAL.modulo(args, 997)
    assert right
    assert BINOMIAL.verify_modulo(args, 997, None, right, 7)

    def wrong(n: int, k: int, prime: int) -> int:
        return int(n == 100_000)

    monkeypatch.setattr(carries, "__code__", wrong.__code__)
    assert BINOMIAL.modulo(args, 997) == 0
    assert not BINOMIAL.verify_modulo(args, 997, None, 0, 7)


@pytest.mark.parametrize("modulus", [2, 10, 97, 2**40 * 9, 10**30, 2**61 - 1])
def test_catalan_numbers(modulus: int) -> None:
    """A Catalan number's residue is right, even if n + 1 shares factors with the modulus."""
    for n in (*range(40), 9_999, 10_007, 30_011):
        expected = math.comb(2 * n, n) // (n + 1) % modulus
        assert CATALAN.modulo((n,), modulus) == expected
        if n > 2:
            assert CATALAN.verify_modulo((n,), modulus, None, expected, 7)
            assert not CATALAN.verify_modulo((n,), modulus, None, expected + 1, 7)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("binomial", (3_000, 1_001)), ("binomial", (3_000, 1_999)), ("binomial", (-3_000, 2_000)),
        ("binomial", (10**9, 1_200)), ("binomial", (10**30, 1_001)), ("binomial", (60_000, 30_000)),
        ("binomial", (10**18, 3)), ("binomial", (10**18, 1)), ("binomial", (5, 9)), ("catalan", (0,)),
        ("catalan", (1_000,)), ("catalan", (1_001,)), ("catalan", (40_000,)),
    ],
)  # fmt: skip
def test_a_summary_has_the_size_and_the_ends_of_the_value(name: str, args: Integers) -> None:
    """A summary has the digit count and the first and last digits of the value, for short and for long values."""
    operation = cast("Summarisable[Integers]", OPERATIONS[name])
    text = operation.compute(args, 50).decode().lstrip("-")
    summary = operation.summary(args)
    assert (summary.digits, summary.leading, summary.trailing) == (len(text), text[:20], text[-20:])


def test_a_modulus_that_would_have_to_be_factored_is_refused() -> None:
    """A modulus that is a product of two long primes is refused if n and k are large.

    It is accepted if k is small, or if the coefficient is short enough to be computed whole.
    """
    hard = (2**89 - 1) * (2**107 - 1)
    with pytest.raises(InvalidInput, match="too hard to factor") as caught:
        plan_binomial(10**18, 10**17, hard)
    assert [problem.pointer for problem in caught.value.problems] == ["/mod"]
    assert plan_binomial(10**18, 10**17, 2**521 - 1).seconds > 10**4
    assert residue(10**18, 12_345, hard) == math.comb(10**18, 12_345) % hard
    short = (3_000_000, 1_000_001)
    assert BINOMIAL.plan_modulo(short, hard).method.whole
    value = BINOMIAL.modulo(short, hard)
    for prime in (2**89 - 1, 2**107 - 1):
        assert value % prime == residue(*short, prime)


def test_residues_from_the_prime_factors_of_small_coefficients() -> None:
    """For all n below 60, ``sieved_residue`` equals ``math.comb`` modulo 1, modulo primes and modulo 49."""
    for n in range(60):
        for k in range(n + 1):
            for modulus in (1, 2, 7, 49, 2**61 - 1):
                assert sieved_residue(n, k, modulus) == math.comb(n, k) % modulus


@pytest.mark.parametrize(("n", "k"), [(4_999, 2_500), (100_003, 5_000), (77_777, 38_888), (332_000, 166_000)])
def test_residues_from_the_prime_factors_of_long_coefficients(n: int, k: int) -> None:
    """For a large n, ``sieved_residue`` equals the residue of the coefficient that GMP computes."""
    assert sieved_residue(n, k, 2**61 - 1) == gmpy2.bincoef(n, k) % (2**61 - 1)
