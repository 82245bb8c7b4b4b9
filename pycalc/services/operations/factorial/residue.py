"""n! modulo m in O(sqrt(n) log n) operations, from the values of a polynomial on an arithmetic progression.

Bostan, Gaudry, Schost: Linear recurrences with polynomial coefficients and application to integer factorization and
Cartier-Manin operator (2007). With v near sqrt(n) and g(x) = (v·x + 1)(v·x + 2)...(v·x + v), g(0) is the product of the
first v factors of n!, g(1) that of the second v factors, and so on. The degree of the polynomial is doubled until it is
v, by interpolation.
Lagrange's formula finds the values of a polynomial at a..a+d from those at 0..d. The formula is a
convolution, which GMP computes as one product of large integers (Kronecker substitution).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import isqrt

from pycalc.services.operations.numbers.gmp import gmp, mpz
from pycalc.services.operations.numbers.texts import inverse
from pycalc.services.operations.numbers.thresholds import FACTORIAL_RESIDUE_SECONDS, FACTORIAL_RESIDUE_STEPS

_WIDE_BITS = 300  # above this size of the modulus, GMP multiplies faster than the interpreter


def largest_inverted(n: int) -> int:
    """Return a bound for the prime factors of the divisors in ``factorial_by_steps(n, ...)``.

    With r <= sqrt(n) < 2·r, a power of 2, it divides by integers up to n/r + r, which is at most 4·sqrt(n), and by
    fractions (1 + j·2^k)/2^k with numerators up to 3·r + 1.
    """
    return 4 * isqrt(n) + 4


def factorial_residues(indices: Sequence[int], prime: int) -> list[int]:
    """Return n! modulo a prime for each n of ``indices``, mostly in little more time than for the largest n alone."""
    largest = max(indices)
    if largest >= prime:
        return [factorial_residues((n,), prime)[0] if n < prime else 0 for n in indices]
    if largest < FACTORIAL_RESIDUE_STEPS:
        found: dict[int, int] = {}
        result, start = 1, 1
        for n in sorted({*indices}):
            for factor in range(start, n + 1):
                result = result * factor % prime
            found[n], start = result, n + 1
        return [found[n] for n in indices]
    return _by_steps(indices, prime)


def factorial_residue_seconds(n: int) -> float:
    """Estimate the seconds for ``n``! modulo a prime of at most 61 bits, on one core."""
    if n < FACTORIAL_RESIDUE_STEPS:
        return n * 1e-7
    steps = min(isqrt(n), 10**150) * max(1.0, n.bit_length() / 20)
    return steps * FACTORIAL_RESIDUE_SECONDS[0][1]


def factorial_by_steps(n: int, modulus: int) -> int:
    """Return ``n``! modulo ``modulus``, which must be above ``n``, in O(sqrt(n) log n) modular operations.

    Raises ZeroDivisionError if ``modulus`` has a prime factor by which the interpolation divides.
    """
    return _by_steps((n,), mpz(modulus) if modulus.bit_length() > _WIDE_BITS else modulus)[0]


def _by_steps(indices: Sequence[int], modulus: int) -> list[int]:
    """Return n! modulo ``modulus`` for each n of ``indices``, from one list of products of consecutive factors."""
    largest = max(indices)
    run = 1 << max(0, isqrt(largest).bit_length() - 1)
    # The values of (run·x + 1)(run·x + 2)...(run·x + degree) at x = 0, 1, ...; the last degree is ``run``.
    degree, values = 1, [1, run + 1]
    step = inverse(run, modulus)
    while degree < run:
        shift = _Shift(values, modulus)
        there = values + shift.to(degree + 1)
        offset = degree * step % modulus
        beside = shift.to(offset) + shift.to(offset + degree + 1)
        degree *= 2
        values = [a * b % modulus for a, b in zip(there[: degree + 1], beside[: degree + 1], strict=True)]
    if len(values) < largest // run:
        shift = _Shift(values, modulus)
        for start in range(degree + 1, largest // run, degree + 1):
            values = values + shift.to(start)
    found: dict[int, int] = {}
    result, position = 1, 0
    for n in sorted({*indices}):
        while position < n // run:
            result = result * values[position] % modulus
            position += 1
        found[n] = result
        for factor in range(n - n % run + 1, n + 1):
            found[n] = found[n] * factor % modulus
    return [int(found[n]) for n in indices]


class _Shift:
    """A polynomial of degree d, given by its values at 0..d, to be evaluated at a..a+d for any a."""

    def __init__(self, values: list[int], modulus: int) -> None:
        self._modulus = modulus
        self._degree = degree = len(values) - 1
        self._slot = 2 * modulus.bit_length() + (2 * degree + 2).bit_length()
        factorial = 1
        for factor in range(2, degree + 1):
            factorial = factorial * factor % modulus
        last = inverse(factorial, modulus)
        # 1/0!, 1/1!, ..., 1/degree!
        inverses = list(accumulate(range(degree, 0, -1), lambda a, b: a * b % modulus, initial=last))[::-1]
        weights = [
            value * left % modulus * right % modulus
            for value, left, right in zip(values, inverses, reversed(inverses), strict=True)
        ]
        for index in range(degree - 1, -1, -2):
            weights[index] = modulus - weights[index]
        self._weights = gmp.pack([mpz(weight) for weight in weights], self._slot)

    def to(self, start: int) -> list[int]:
        """Return the values at ``start``, ..., ``start`` + d. Raises ZeroDivisionError if a divisor has no inverse."""
        modulus, degree, slot = self._modulus, self._degree, self._slot
        points = [(start - degree + j) % modulus for j in range(2 * degree + 1)]
        inverses = _inverses(points, modulus)
        product = self._weights * gmp.pack([mpz(value) for value in inverses], slot)
        middle = product >> (degree * slot)
        sums = gmp.unpack(gmp.f_mod_2exp(middle, (degree + 1) * slot), slot)
        sums += [0] * (degree + 1 - len(sums))
        window = 1
        for point in points[: degree + 1]:
            window = window * point % modulus
        result = [window * int(sums[0]) % modulus]
        for index in range(1, degree + 1):
            window = window * points[degree + index] % modulus * inverses[index - 1] % modulus
            result.append(window * int(sums[index]) % modulus)
        return result


def _inverses(values: list[int], modulus: int) -> list[int]:
    """Return the inverses of all ``values`` modulo ``modulus``, with a single inversion (Montgomery's trick)."""
    products = list(accumulate(values, lambda a, b: a * b % modulus))
    running = inverse(products[-1], modulus)
    result = [0] * len(values)
    for index in range(len(values) - 1, 0, -1):
        result[index] = running * products[index - 1] % modulus
        running = running * values[index] % modulus
    result[0] = running
    return result
