"""n! modulo any m: zero where m divides it, otherwise by the parts of m that do not."""

from __future__ import annotations

from functools import lru_cache
from math import gcd, isqrt, log2, sqrt
from typing import NamedTuple

from pycalc.services.operations import thresholds
from pycalc.services.operations.factorial_residue import factorial_by_steps
from pycalc.services.operations.gmp import gmp
from pycalc.services.operations.primes import factorial_exponent, primes_up_to
from pycalc.services.operations.texts import inverse

_DIRECT_BELOW = 20_000
_SMALL_PRIMES = 10**6
_PRIMALITY_BITS = 4_000


class _Plan(NamedTuple):
    """``modulus`` = ``smooth``·``rough``: ``smooth`` divides n!, ``rough`` has no prime factor up to sqrt(n).

    ``reflected`` stands for n where ``rough`` is a prime and n is nearer to its end (Wilson); None: no way but the
    whole product.
    """

    smooth: int
    rough: int
    reflected: int | None


def factorial_modulo(n: int, modulus: int) -> int:
    """``n``! modulo ``modulus``; 0 for ``n`` >= ``modulus``.

    It takes O(sqrt(n)) steps, or O(n) where a prime power that divides ``modulus`` does not divide ``n``!.
    """
    if n >= modulus:
        return 0
    plan = _plan(n, modulus)
    if plan.rough <= n:
        return 0
    if plan.reflected is None:
        return int(gmp.fac(n) % modulus)
    try:
        residue = _wilson(plan.reflected, plan.rough) if plan.reflected != n else factorial_by_steps(n, plan.rough)
    except ZeroDivisionError:
        return int(gmp.fac(n) % modulus)
    return plan.smooth * (residue * inverse(plan.smooth, plan.rough) % plan.rough)


def factorial_modulo_seconds(n: int, modulus: int) -> float:
    """How long ``factorial_modulo`` takes on one core."""
    if n >= modulus:
        return 1e-6
    plan = _plan(n, modulus)
    if plan.rough <= n:
        return 1e-5
    if plan.reflected is None:
        return thresholds.seconds(thresholds.FACTORIAL_PRODUCT_SECONDS, n)
    width = max(1.0, plan.rough.bit_length() / 61)
    steps = sqrt(plan.reflected) if plan.reflected < 10**300 else 1e150
    return 1e-4 + thresholds.FACTORIAL_RESIDUE_SECONDS_PER_STEP * steps * width * max(1.0, log2(steps + 1) / 10)


@lru_cache(maxsize=64)
def _plan(n: int, modulus: int) -> _Plan:
    if n < _DIRECT_BELOW:
        return _Plan(1, modulus, None)
    limit = min(isqrt(n) + 1, _SMALL_PRIMES)
    smooth, rough = 1, modulus
    common = gcd(modulus, int(gmp.primorial(limit)))
    for prime in _divisors(common, limit):
        rest, exponent = gmp.remove(rough, prime)
        rough = int(rest)
        if factorial_exponent(n, prime) < exponent:
            return _Plan(1, modulus, None)
        smooth *= prime ** int(exponent)
    return _Plan(smooth, rough, _reflected(n, rough))


def _divisors(common: int, limit: int) -> list[int]:
    """The primes up to ``limit`` that divide ``common``, a product of distinct ones."""
    if common == 1:
        return []
    return [prime for prime in primes_up_to(limit) if common % prime == 0]


def _reflected(n: int, rough: int) -> int:
    mirror = rough - 1 - n
    if 0 <= mirror < n and rough.bit_length() <= _PRIMALITY_BITS and gmp.is_prime(rough):
        return mirror
    return n


def _wilson(mirror: int, prime: int) -> int:
    """(``prime`` - 1 - ``mirror``)! modulo ``prime``, from (p-1)! = -1: it is (-1)^(mirror+1) / mirror!."""
    small = factorial_by_steps(mirror, prime) if mirror else 1
    value = inverse(small, prime)
    return value if mirror % 2 else prime - value
