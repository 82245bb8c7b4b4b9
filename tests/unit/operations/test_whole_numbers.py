"""Operations on whole numbers, compared with Python's integers, definitions and published tables."""

from __future__ import annotations

import json
import math
from itertools import pairwise, product
from typing import Any

import pytest
from gmpy2 import mpz

from pycalc.errors import DomainError
from pycalc.services.operations import CALCULATIONS, OPERATIONS
from pycalc.services.operations.base import Modular, Summarisable
from pycalc.services.operations.integer_operation import digits_of_bits
from pycalc.services.operations.numbers.texts import describe

EVALUATE = CALCULATIONS["evaluate"]
PRIME = 2**60 + 33  # a prime of 61 bits, like the random primes of verifications
PRIMES = [n for n in range(2, 2_000) if all(n % divisor for divisor in range(2, math.isqrt(n) + 1))]


def parsed(name: str, *operands: int) -> Any:
    """Parse operands, and return them as the arguments of an operation."""
    operation = OPERATIONS[name]
    return operation.parse(
        {
            parameter.name: mpz(operand).digits()
            for parameter, operand in zip(operation.parameters, operands, strict=True)
        }
    )


def checked(name: str, *operands: int) -> int:
    """Return a result, after checking that verification rejects other values and that the estimate is not too low."""
    operation, args = OPERATIONS[name], parsed(name, *operands)
    text = operation.compute(args, 50)
    value = int(mpz(text.decode()))
    assert operation.verify(args, 50, text, PRIME), (name, operands)
    for wrong in (value - 1, value + 1, -value or 2):
        assert not operation.verify(args, 50, mpz(wrong).digits().encode(), PRIME), (name, operands, wrong)
    assert not operation.verify(args, 50, b"x", PRIME)
    estimate = operation.estimate(args, 50)
    assert estimate.digits >= describe(text).digits
    assert estimate.seconds > 0
    return value


def is_refused(name: str, *operands: int) -> bool:
    """Return whether an operation raises DomainError for these operands."""
    try:
        OPERATIONS[name].compute(parsed(name, *operands), 50)
    except DomainError:
        return True
    return False


def test_binomial_coefficients() -> None:
    """Coefficients equal ``math.comb``. A negative n gives (-1)^k times (k - n - 1) over k; a negative k gives 0."""
    for n, k in product(range(25), range(-2, 27)):
        assert checked("binomial", n, k) == (math.comb(n, k) if k >= 0 else 0)
    for n, k in product(range(-12, 0), range(-2, 12)):
        assert checked("binomial", n, k) == ((-1) ** k * math.comb(k - n - 1, k) if k >= 0 else 0)


@pytest.mark.parametrize(
    ("n", "k"), [(30_000, 12_000), (30_000, 10_001), (30_000, 29_990), (10**18, 3), (10**30, 2), (2**61 + 5, 400)]
)
def test_large_binomial_coefficients(n: int, k: int) -> None:
    """Large coefficients equal ``math.comb``."""
    assert checked("binomial", n, k) == math.comb(n, k)


def test_the_estimated_digits_of_coefficients() -> None:
    """The estimated number of digits of a binomial coefficient and of a Catalan number is exact.

    Otherwise a result with exactly the most digits allowed would be refused.
    """
    short = product(range(-40, 400, 3), range(50))
    large = [
        (30_000, 29_990), (999_998, 997), (10**9 - 1, 1), (10**9, 1), (10**9 + 7, 900), (10**18, 3), (10**30, 2),
        (2**61 + 5, 400), (10**400, 999), (10**3_200 - 1, 1), (10**3_200 + 1, 12), (10**3_200, 1_001),
    ]  # fmt: skip
    for n, k in (*short, *large):
        digits = len(mpz(math.comb(n if n >= 0 else k - n - 1, k)).digits())
        assert OPERATIONS["binomial"].estimate(parsed("binomial", n, k), 50).digits == digits, (n, k)
    for n in range(1_100):
        digits = len(str(math.comb(2 * n, n) // (n + 1)))
        assert OPERATIONS["catalan"].estimate(parsed("catalan", n), 50).digits == digits, n


def test_catalan_numbers() -> None:
    """Catalan numbers equal OEIS A000108, and satisfy (n + 2)·C(n + 1) = (4n + 2)·C(n)."""
    known = [1, 1, 2, 5, 14, 42, 132, 429, 1430, 4862, 16796, 58786, 208012, 742900, 2674440, 9694845]
    assert [checked("catalan", n) for n in range(16)] == known
    for n in (99, 1_000):
        assert (n + 2) * checked("catalan", n + 1) == (4 * n + 2) * checked("catalan", n)


def test_lucas_numbers() -> None:
    """Lucas numbers equal OEIS A000032; their residues, first and last digits agree with the full numbers."""
    lucas = OPERATIONS["lucas"]
    assert isinstance(lucas, Modular)
    assert isinstance(lucas, Summarisable)
    numbers = [2, 1]
    for _ in range(20_100):
        numbers.append(numbers[-1] + numbers[-2])
    assert numbers[:16] == [2, 1, 3, 4, 7, 11, 18, 29, 47, 76, 123, 199, 322, 521, 843, 1364]
    for n in (*range(40), 19_999, 20_000, 20_001):
        args = parsed("lucas", n)
        assert checked("lucas", n) == numbers[n]
        assert [lucas.modulo(args, m) for m in (1, 2, 10, 10**20)] == [numbers[n] % m for m in (1, 2, 10, 10**20)]
        summary = lucas.summary(args)
        assert (summary.digits, summary.leading, summary.trailing) == describe(mpz(numbers[n]).digits().encode())
        assert lucas.estimate(args, 50).digits == summary.digits


def test_primorials() -> None:
    """Primorials equal the products of the primes up to n; the estimated size for n = 999 is at most 10 % too high."""
    expected = 1
    for n in range(1_000):
        expected *= n if n in PRIMES else 1
        assert checked("primorial", n) == expected
    digits = len(mpz(expected).digits())
    assert OPERATIONS["primorial"].estimate(parsed("primorial", 999), 50).digits <= digits * 1.1


def test_divisors_and_multiples() -> None:
    """``gcd`` and ``lcm`` equal the functions of ``math``, also for zero and negative numbers."""
    numbers = [*range(-7, 13), 360, -1_071, 462, 10**20, 6**50, PRIME**2]
    for a, b in product(numbers, repeat=2):
        assert checked("gcd", a, b) == math.gcd(a, b)
        assert checked("lcm", a, b) == math.lcm(a, b)


def test_a_common_divisor_that_is_not_the_greatest_is_refused() -> None:
    """The verification rejects wrong values for the gcd and the lcm of 12 and 18, such as smaller common divisors."""
    divisors, multiples = OPERATIONS["gcd"], OPERATIONS["lcm"]
    for wrong in (b"1", b"2", b"3", b"12"):
        assert not divisors.verify(parsed("gcd", 12, 18), 50, wrong, PRIME)
    for wrong in (b"72", b"12", b"0"):
        assert not multiples.verify(parsed("lcm", 12, 18), 50, wrong, PRIME)


def test_inverses() -> None:
    """Inverses equal Python's ``pow(a, -1, m)``; numbers with a common factor have none."""
    for a, m in product(range(-15, 40), (1, 2, 7, 12, 30)):
        assert is_refused("modinverse", a, m) == (math.gcd(a, m) != 1)
        if math.gcd(a, m) == 1:
            args, text = parsed("modinverse", a, m), mpz(pow(a, -1, m)).digits().encode()
            assert OPERATIONS["modinverse"].compute(args, 50) == text
            assert OPERATIONS["modinverse"].verify(args, 50, text, PRIME)
            wrong = [str(value).encode() for value in (pow(a, -1, m) + m, pow(a, -1, m) - m)]
            assert not any(OPERATIONS["modinverse"].verify(args, 50, each, PRIME) for each in wrong)


def test_a_divisor_that_two_numbers_share_is_shown_by_its_ends() -> None:
    """Without an inverse, the error shows the common divisor; above 60 digits, only its first and last 20 digits."""
    for digits, shown in ((60, "9" * 60), (61, "9" * 20 + "..." + "9" * 20)):
        divisor = 10**digits - 1
        with pytest.raises(DomainError, match=rf"multiples of {shown.replace('.', '[.]')}:"):
            OPERATIONS["modinverse"].compute(parsed("modinverse", divisor, divisor), 50)


# Carmichael numbers, strong pseudoprimes to the bases up to 7, 11, 37 and 41, and a square of a prime.
COMPOSITE = (561, 1_729, 3_215_031_751, 3_825_123_056_546_413_051, 318_665_857_834_031_151_167_461, PRIME**2)
COMPOSITE_41 = 3_317_044_064_679_887_385_961_981


def test_primality() -> None:
    """``isprime`` is right for numbers below 2,000, Mersenne primes, Carmichael numbers and strong pseudoprimes."""
    is_prime = OPERATIONS["isprime"]
    expected = {n: n in PRIMES for n in range(2_000)}
    expected |= dict.fromkeys((*COMPOSITE, COMPOSITE_41), False) | dict.fromkeys(
        (PRIME, 2**61 - 1, 2**89 - 1, 2**521 - 1), True
    )
    for n, prime in expected.items():
        args, right, wrong = parsed("isprime", n), b"true" if prime else b"false", b"false" if prime else b"true"
        assert is_prime.compute(args, 50) == right, n
        assert is_prime.verify(args, 50, right, PRIME)
        assert not is_prime.verify(args, 50, wrong, PRIME)


def test_a_long_number_is_estimated_by_what_a_test_finds() -> None:
    """The estimate of ``isprime`` is over 120 s for a long prime, whose proof takes long, but not for a composite."""
    for text, prime in (("2^4423 - 1", True), ("2^9689 - 1", True), ("2^4423 + 1", False), ("2^9689 - 3", False)):
        power, _, rest = text.partition(" ")
        n = 2 ** int(power[2:]) + int(rest.replace(" ", ""))
        estimates = [OPERATIONS["isprime"].estimate(parsed("isprime", n), 50)]
        estimates.append(EVALUATE.estimate(EVALUATE.parse({"expression": f"isprime({text})"}), 0))
        assert [estimate.seconds > 120 for estimate in estimates] == [prime, prime], text
        if not prime:
            assert OPERATIONS["isprime"].result(parsed("isprime", n), 50, exact=True).text == b"false"


def test_next_primes() -> None:
    """The next prime is the smallest prime above n; verification rejects its neighbours."""
    assert [int(OPERATIONS["nextprime"].compute(parsed("nextprime", n), 50)) for n in (0, 1, 2, 3)] == [2, 2, 3, 5]
    for before, after in pairwise(PRIMES[:100]):
        for n in range(before, after):
            assert int(OPERATIONS["nextprime"].compute(parsed("nextprime", n), 50)) == after
        args = parsed("nextprime", before)
        assert OPERATIONS["nextprime"].verify(args, 50, b"%d" % after, PRIME)
        assert not any(
            OPERATIONS["nextprime"].verify(args, 50, b"%d" % wrong, PRIME) for wrong in (before, after + 1, after - 1)
        )
    # From a table of the first primes above powers of ten, OEIS A033873.
    for exponent, gap in ((9, 7), (12, 39), (18, 3), (30, 57)):
        assert int(OPERATIONS["nextprime"].compute(parsed("nextprime", 10**exponent), 50)) == 10**exponent + gap


def factored(n: int) -> list[dict[str, Any]]:
    """Return the prime factors below 2,000 of a number, by trial division, in the form of the service's results."""
    found = []
    for prime in PRIMES:
        exponent = 0
        while n % prime == 0:
            n, exponent = n // prime, exponent + 1
        if exponent:
            found.append({"prime": prime, "exponent": exponent})
    return found


def test_factorizations() -> None:
    """The factors equal those by trial division, in ascending order; verification rejects wrong lists."""
    factorize = OPERATIONS["factorize"]
    for n in (*range(1, 2_000), 1_009 * 1_013, 997**3 * 1_999, 2**70 * 1_999**2):
        args = parsed("factorize", n)
        text = factorize.compute(args, 50)
        assert json.loads(text) == factored(n), n
        assert factorize.verify(args, 50, text, PRIME)
    args = parsed("factorize", 360)
    for wrong in (
        [],
        [{"prime": 2, "exponent": 3}, {"prime": 3, "exponent": 2}],
        [{"prime": 3, "exponent": 2}, {"prime": 2, "exponent": 3}, {"prime": 5, "exponent": 1}],
        [{"prime": 8, "exponent": 1}, {"prime": 9, "exponent": 1}, {"prime": 5, "exponent": 1}],
        [
            {"prime": 2, "exponent": 1},
            {"prime": 2, "exponent": 2},
            {"prime": 3, "exponent": 2},
            {"prime": 5, "exponent": 1},
        ],
        [*factored(360), {"prime": 7, "exponent": 0}],
    ):
        assert not factorize.verify(args, 50, json.dumps(wrong).encode(), PRIME)
    assert is_refused_when_read("factorize", 0)


def is_refused_when_read(name: str, operand: int) -> bool:
    """Return whether parsing the operand of an operation raises DomainError."""
    try:
        parsed(name, operand)
    except DomainError:
        return True
    return False


@pytest.mark.parametrize("bits", [*range(1, 400), 33_219, 33_220, 332_192, 332_193, 3_321_928])
def test_the_most_digits_of_so_many_bits(bits: int) -> None:
    """The bound on decimal digits is the digit count of the largest number with this many bits, or one more."""
    longest = len(mpz(2**bits - 1).digits())
    assert longest <= digits_of_bits(bits) <= longest + 1


@pytest.mark.parametrize(
    ("name", "operands", "seconds"),
    [
        ("fibonacci", (19_999,), 2.8e-5), ("fibonacci", (10**18,), 7e-5), ("lucas", (10**18,), 6e-5),
        ("factorial", (999,), 1.5e-5), ("factorial", (10**18,), 2e-4), ("pow", (2, 10**18), 4e-5),
        ("binomial", (10**18, 1_000), 4e-4), ("binomial", (10**18, 10**17), 1.8e-3), ("catalan", (1_000,), 5e-6),
        ("catalan", (10**18,), 2.6e-3),
    ],
)  # fmt: skip
def test_the_time_for_a_summary(name: str, operands: tuple[int, ...], seconds: float) -> None:
    """The estimated time of a summary is within a factor of 2.5 of the measured time."""
    operation = OPERATIONS[name]
    assert isinstance(operation, Summarisable)
    assert seconds / 2.5 < operation.summary_seconds(parsed(name, *operands)) < seconds * 2.5


def test_the_time_for_a_binomial_coefficient() -> None:
    """The estimated time of a large binomial coefficient is within a factor of two of the measured 26 ms."""
    args = parsed("binomial", 10**6, 5 * 10**5)
    assert 0.013 < OPERATIONS["binomial"].estimate(args, 50).seconds < 0.052
