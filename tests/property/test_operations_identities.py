"""Mathematical identities between results, for random arguments."""

from __future__ import annotations

import math
from typing import Any

from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from pycalc.services.operations.base import Operation
from pycalc.services.operations.numbers.gmp import gmp
from pycalc.services.operations.numbers.modular import fibonacci_residue
from pycalc.services.operations.numbers.primes import factorial_exponent
from pycalc.services.operations.numbers.texts import describe
from tests.harness.mission import THREE

FIBONACCI, FACTORIAL, POWER = THREE.values()
PRIMES = [p for p in range(3, 2_000) if gmp.is_prime(p)]

indices = st.integers(0, 4_000)
moduli = st.integers(1, 10**40)
huge = st.integers(0, 10**200)


def number(operation: Operation[Any], **operands: object) -> Any:
    """Return the integer result of an operation."""
    args = operation.parse({name: str(operand) for name, operand in operands.items()})
    return mpz(operation.compute(args, 50).decode())


def fibonacci(n: int) -> Any:
    """Return F(n)."""
    return number(FIBONACCI, n=n)


@given(indices)
def test_cassini(n: int) -> None:
    """Cassini's identity holds: F(n)·F(n+2) - F(n+1)² = (-1)^(n+1)."""
    assert fibonacci(n) * fibonacci(n + 2) - fibonacci(n + 1) ** 2 == (-1) ** (n + 1)


@given(indices, indices)
def test_d_ocagne(m: int, n: int) -> None:
    """D'Ocagne's identity holds: F(m)·F(n+1) - F(m+1)·F(n) = (-1)^n·F(m-n)."""
    m, n = max(m, n), min(m, n)
    assert fibonacci(m) * fibonacci(n + 1) - fibonacci(m + 1) * fibonacci(n) == (-1) ** n * fibonacci(m - n)


@given(huge, huge, moduli)
def test_fibonacci_addition_modulo_m(a: int, b: int, modulus: int) -> None:
    """F(a+b+1) = F(a+1)·F(b+1) + F(a)·F(b) holds modulo any number and at any size."""
    left = fibonacci_residue(a + b + 1, modulus)
    right = fibonacci_residue(a + 1, modulus) * fibonacci_residue(b + 1, modulus)
    assert left == (right + fibonacci_residue(a, modulus) * fibonacci_residue(b, modulus)) % modulus


@given(st.sampled_from(PRIMES))
def test_wilson(prime: int) -> None:
    """(p-1)! is -1 modulo a prime p, in full and by modular computation."""
    assert number(FACTORIAL, n=prime - 1) % prime == prime - 1
    assert FACTORIAL.modulo(FACTORIAL.parse({"n": str(prime - 1)}), prime) == prime - 1


@given(st.integers(0, 2_000), st.sampled_from([2, *PRIMES]))
def test_legendre(n: int, prime: int) -> None:
    """A prime p divides n! exactly (n - s(n)) / (p - 1) times, where s(n) is the sum of n's digits in base p."""
    digits, rest = 0, n
    while rest:
        rest, digit = divmod(rest, prime)
        digits += digit
    exponent = (n - digits) // (prime - 1)
    value = number(FACTORIAL, n=n)
    assert factorial_exponent(n, prime) == exponent
    assert value % mpz(prime) ** exponent == 0
    assert value // mpz(prime) ** exponent % prime != 0


@given(st.integers(1, 3_000))
def test_factorials_grow_by_their_factor(n: int) -> None:
    """Each factorial is its last factor times the previous one: n! = n·(n-1)!."""
    assert number(FACTORIAL, n=n) == n * number(FACTORIAL, n=n - 1)


@given(st.integers(-(10**30), 10**30), st.integers(0, 60), st.integers(0, 60))
def test_exponents_add(x: int, a: int, b: int) -> None:
    """x^(a+b) = x^a·x^b."""
    assert number(POWER, x=x, y=a + b) == number(POWER, x=x, y=a) * number(POWER, x=x, y=b)


@given(st.integers(0, 30_000))
@settings(max_examples=60)
def test_estimates_and_summaries_are_what_the_text_says(n: int) -> None:
    """Estimates of F(n) and n! give the exact number of digits, and summaries the exact first and last digits."""
    for operation, argument in ((FIBONACCI, n), (FACTORIAL, n // 8)):
        args = operation.parse({"n": str(argument)})
        facts = describe(operation.compute(args, 50))
        assert operation.summary(args) == facts
        assert operation.estimate(args, 50).digits == facts.digits
        assert math.isfinite(operation.estimate(args, 50).seconds)
