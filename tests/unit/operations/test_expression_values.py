"""The values of expressions: exact, rounded and modular ones, errors with their position, and the verification."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from math import isqrt
from random import Random
from typing import Any

import flint
import gmpy2
import mpmath  # type: ignore[import-untyped,unused-ignore]
import pytest

from pycalc.errors import DomainError, InvalidInput, ResultTooLarge, VerificationFailed
from pycalc.services.compute.computer import INLINE_SECONDS
from pycalc.services.operations import CALCULATIONS, OPERATIONS
from pycalc.services.operations.base import Verified
from pycalc.services.operations.expressions import loops
from pycalc.services.operations.expressions.enclosures import rounded
from pycalc.services.operations.expressions.loops import polynomial_degree, takes_columns
from pycalc.services.operations.expressions.operation import Evaluate
from pycalc.services.operations.fibonacci import Fibonacci
from pycalc.services.operations.integer_operation import Integers

EVALUATE = CALCULATIONS["evaluate"]
MANY_PARTS = " + ".join(f"(j % {n})" for n in range(2, 30))


def result(text: str, precision: int = 0) -> Verified:
    """Estimate an expression, and then return its verified result, as the service does."""
    args = EVALUATE.parse({"expression": text})
    estimate = EVALUATE.estimate(args, precision)
    return EVALUATE.result(args, precision, exact=estimate.exact)


def value(text: str, precision: int = 0) -> str:
    """Return the text of an expression's value."""
    return result(text, precision).text.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/3 + 1/6", "0.5"),
        ("1/3 - 1/2", "-1/6"),
        ("0.1 + 0.2", "0.3"),
        ("0.1 + 0.2 == 0.3", "true"),
        ("1e-7", "0.0000001"),
        ("2^0.5 * 0", None),
        ("4^0.5", "2"),
        ("(4/9)^(3/2)", "8/27"),
        ("(-8)^(1/3)", "-2"),
        ("0^0", "1"),
        ("7.5 // 2", "3"),
        ("-7.5 % 2", "0.5"),
        ("7 % -3", "-2"),
        ("floor(-7/2)", "-4"),
        ("ceil(-7/2)", "-3"),
        ("round(2.5) + round(3.5) + round(-2.5)", "4"),
        ("abs(-3/4)", "0.75"),
        ("min(3, 1/2, -1) + max(3, 1/2)", "2"),
        ("sum(i, 1, 100, i^2)", "338350"),
        ("sum(i, 1, 10, 1/i)", "7381/2520"),
        ("prod(i, 1, 10, i) == 10!", "true"),
        ("sum(i, 5, 4, i) + prod(i, 5, 4, i)", "1"),
        ("sum(i, 1, 3, sum(j, 1, i, i*j))", "25"),
        ("sum(i, 1, 3, sum(i, 1, 2, i) + i)", "15"),
        ("fibonacci(100) - factorial(20)", "351791946171085275075"),
        ("binomial(50, 25)", "126410606437752"),
        ("sum(k, 0, 100, binomial(100, k)) == 2^100", "true"),
        ("gcd(fibonacci(300), fibonacci(200)) == fibonacci(gcd(300, 200))", "true"),
        ("lcm(4, 6) + modinverse(3, 7)", "17"),
        ("1 < 2", "true"),
        ("2^100 <= 10^30", "false"),
        ("10^30 - 1 > 2^99", "true"),
        ("1/3 != 2/6", "false"),
        ("isprime(2^127 - 1)", "true"),
        ("(isprime(2^127 + 1))", "false"),
        ("isprime(2^61 mod 1000)", "false"),
        ("factorize(2^67 - 1)", '[{"prime":193707721,"exponent":1},{"prime":761838257287,"exponent":1}]'),
        ("factorize(1)", "[]"),
        ("nextprime(10^20) - 10^20", "39"),
        ("gcd(nextprime(100), primorial(101))", "101"),
        ("lucas(10) + catalan(5)", "165"),
    ],
)
def test_exact_values(text: str, expected: str | None) -> None:
    """An exact value is a decimal, a fraction in lowest terms, a boolean or a list; None stands for a DomainError."""
    if expected is None:
        with pytest.raises(DomainError):
            result(text)
    else:
        assert result(text) == Verified(expected.encode(), True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3^(10^12) mod 10^20", pow(3, 10**12, 10**20)),
        ("3^(10^12) % 10^20", pow(3, 10**12, 10**20)),
        ("(4349^5249) % 7031", pow(4349, 5249, 7031)),
        (
            "(2^(10^9) + 3^(10^9)) mod (10^30 + 57)",
            (pow(2, 10**9, 10**30 + 57) + pow(3, 10**9, 10**30 + 57)) % (10**30 + 57),
        ),
        ("-(2^(10^9)) mod 97", -pow(2, 10**9, 97) % 97),
        ("fibonacci(10^15) mod 10", 5),  # the last digits have a period of 60, and 10^15 = 40 modulo 60
        ("(1/3) mod 7", 5),
        ("nextprime(10^20) mod 7", 6),  # the prime is 10^20 + 39, which is 2 + 4 modulo 7
        ("(1/3)^(10^9) mod 7", pow(5, 10**9, 7)),
        ("(1/3 * 3) mod 3", 1),  # the divisor has no inverse, and the value does not need one
        ("2^(2^100) mod 13", pow(2, 2**100, 13)),
        ("9^9^9^9 mod 97", pow(9, pow(9, 9**9, 96) + 96, 97)),
        ("9^9^9^9 mod 1000", pow(9, pow(9, 9**9, 400) + 400, 1000)),
        ("9^9^9^9 mod (10^30 + 57)", 589663827343476438842959483090),  # by PARI
        ("6^6^6^6 mod 10000", pow(6, pow(6, 6**6, 4000) + 4000, 10000)),  # base and modulus share factors
        ("100! mod 101", 100),  # Wilson's theorem
        ("sum(i, 1, 1000, 2^(10^9 + i)) mod 97", sum(pow(2, 10**9 + i, 97) for i in range(1, 1001)) % 97),
        ("prod(i, 1, 96, i^(10^9)) mod 97", 1),
        ("sum(i, 1, 100000, i^2) mod 97", 333338333350000 % 97),
        ("sum(i, 1, 500, i^5 // 3 + (i^2 mod 7)) mod 1009", sum(i**5 // 3 + i**2 % 7 for i in range(1, 501)) % 1009),
        ("sum(i, 1, 500, 1 / i) mod 1009", sum(pow(i, -1, 1009) for i in range(1, 501)) % 1009),
        ("sum(i, 1, 500, 2 * i / 2) mod 6", sum(range(1, 501)) % 6),
        ("sum(i, 1, 500, i * i / i) mod 1", 0),
        ("floor(10^50 / 7) mod 97", 10**50 // 7 % 97),
        ("(10^50 // 7 * 2^(10^9)) mod 97", 10**50 // 7 * pow(2, 10**9, 97) % 97),
        ("(5 mod 3)^(10^9) mod 7", pow(2, 10**9, 7)),
        ("2^(10^9) mod 1", 0),
        ("1e1000000000 mod 7", pow(10, 10**9, 7)),
        # Verified modulo the modulus times a prime, which is too hard to factor. The coefficient is too long. By PARI.
        ("(binomial(10^8, 5*10^7) + 1) mod (2^89 - 1)", 493519495134203683872249200),
    ],
)
def test_residues_are_carried_down(text: str, expected: int) -> None:
    """Residues of expressions, most of which are too large to write out, equal independently computed ones."""
    assert value(text) == str(expected)


def test_the_residue_of_a_call_may_have_over_4300_digits() -> None:
    """A function call may have a residue of more than 4,300 digits, the most that Python's ``int`` reads."""
    assert value("fibonacci(10^5) mod 10^5000") == (gmpy2.fib(10**5) % 10**5000).digits()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(i, 1, 100000, i^2)", 333338333350000),
        ("sum(i, -50, 100, (i/2 - 1)^3 * i)", sum((Fraction(i, 2) - 1) ** 3 * i for i in range(-50, 101))),
        ("sum(i, 1, 1000, 2^(i % 7) - i // 3)", sum(2 ** (i % 7) - i // 3 for i in range(1, 1001))),
        ("sum(i, 1, 600, (-1)^i / (i^2 + i))", sum(Fraction((-1) ** i, i * i + i) for i in range(1, 601))),
        ("prod(i, 1, 600, (i + 1) / i)", 601),
        ("sum(i, 1, 500, max(i, 7!) + abs(-i))", sum(max(i, 5040) + i for i in range(1, 501))),
        ("sum(i, 1, 300, sum(j, 1, i, i * j))", sum(i * j for i in range(1, 301) for j in range(1, i + 1))),
        ("sum(i, 1, 300, fibonacci(i) * (2 - i))", sum(int(gmpy2.fib(i)) * (2 - i) for i in range(1, 301))),
        ("sum(i, 0, 9000, 2^i)", 2**9001 - 1),
        # A part that is certainly one whole number may have parts that are fractions.
        ("sum(i, 1, 20, 3^((i^0) / 2 * 80))", 20 * 3**40),
        ("sum(i, 2, 21, 3^(40 * (i / 2)^0))", 20 * 3**40),
        ("sum(i, 1, 20, 3^(max(i, 21) / 2 * 4))", 20 * 3**42),
        ("sum(i, 1, 20, (i / 3)^((i^0) / 2 * 4))", sum(Fraction(i, 3) ** 2 for i in range(1, 21))),
        ("floor(sum(i, 1, 20, 3^((i^0) / 2 * 80))) mod 1009", 20 * 3**40 % 1009),
        ("sum(i, 1, 20, fibonacci((i^0) / 2 + (i^0) / 2))", 20),
        # The divisors of terms outside the range do not matter.
        ("sum(k, -2, -1, 1/k)", Fraction(-3, 2)),
        ("sum(i, 1, 2, 1 / (4 - i))", Fraction(5, 6)),
        ("sum(i, 1, 3, 1 / catalan(3 - i))", Fraction(5, 2)),
    ],
)
@pytest.mark.parametrize("precision", [0, 30])
def test_sums_and_products(text: str, expected: Fraction, precision: int) -> None:
    """Sums and products equal those computed in Python, and stay exact even if a precision is requested."""
    found = result(text, precision)
    assert (Fraction(found.text.decode()), found.exact) == (expected, True)


@pytest.mark.parametrize(
    ("body", "degree"),
    [("i^10", 10), ("i^11", None), ("i^1e1", 10), ("i*(2 - i)^2 + 3*i/7", 3), ("5*i^0.5", None), ("1/i", None)],
)
def test_the_degree_of_a_polynomial(monkeypatch: pytest.MonkeyPatch, body: str, degree: int | None) -> None:
    """The degree of a sum's body is found if the body is a polynomial of degree 10 at most.

    This limit is the square root of the number of terms, here 100.
    """
    found = []

    def noted(*args: Any) -> int | None:
        found.append(polynomial_degree(*args))
        return found[-1]

    monkeypatch.setattr(loops, "polynomial_degree", noted)
    result(f"sum(i, 1, 100, {body})", 10)
    assert set(found) == {degree}


@pytest.mark.parametrize(
    ("body", "taken"),
    [("i^2 // 3", True), ("i^2 % 3 + 1", True), ("i/7 + 1", True), ("(i/7) // 3", False), ("(i/7) % 3", False)],
)
def test_terms_are_computed_in_columns_where_the_operators_allow_it(
    monkeypatch: pytest.MonkeyPatch, body: str, taken: bool
) -> None:
    """Terms with ``//`` and ``%`` are computed in blocks if the operands are whole numbers, otherwise one by one."""
    found = []

    def noted(*args: Any) -> bool:
        found.append(takes_columns(*args))
        return found[-1]

    monkeypatch.setattr(loops, "takes_columns", noted)
    monkeypatch.setattr(loops, "polynomial_degree", lambda *_: None)
    result(f"sum(i, 1, 100, {body})")
    assert set(found) == {taken}


def test_a_wrong_degree_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a polynomial is summed with too low a degree, the verification fails."""
    monkeypatch.setattr(loops, "polynomial_degree", lambda *_: 1)
    with pytest.raises(VerificationFailed):
        value("sum(i, 1, 1000, i^2)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2^((10^12)!) mod 13", 1),  # 12 divides the factorial
        ("3^((10^12)! + 1) mod (2^89 - 1)", 3),  # (2^89 - 2)/2 has prime factors below 10^12 only
        ("2^fibonacci(3^10000) mod 97", pow(2, int(gmpy2.fib(pow(3, 10_000, 48))), 97)),  # the period modulo 96 is 48
        ("2^((3^10000)! + 5) mod 97", 32),  # 96 divides the factorial
        ("6^((10^18)!) mod 36", 0),  # base and modulus share their factors
        ("2^(fibonacci(10^30)) mod 97", 89),  # this and the next ones are by PARI
        ("3^(binomial(7^8 - 1, 2882400)) mod 1009", 935),
        ("7^(lucas(10^40)) mod (10^9 + 7)", 163722948),
        ("2^3^(fibonacci(10^20)) mod 1019", 260),
        (
            "6^(fibonacci(10^20)) mod 10^60",  # a long modulus with small prime factors only
            336665407787970874693738395809267458998607743740081787109376,
        ),
    ],
)
def test_a_huge_value_of_a_function_is_an_exponent_of_a_residue(text: str, expected: int) -> None:
    """In ``a^b mod m``, b may be the huge value of a function: the estimate is below 5 s, and the residue is right."""
    assert EVALUATE.estimate(EVALUATE.parse({"expression": text}), 0).seconds < 5
    assert value(text) == str(expected)


def test_exponents_that_are_reduced_give_the_residues_of_the_whole_exponents() -> None:
    """If an exponent contains a factorial or similar, the power's residue equals ``pow`` with the whole exponent."""
    random = Random(5)  # noqa: S311  # operands, no secrets
    exponents = {
        "factorial(10000)": gmpy2.fac(10_000),
        "fibonacci(100003)": gmpy2.fib(100_003),
        "lucas(99999)": gmpy2.lucas(99_999),
        "binomial(70000, 35001)": gmpy2.bincoef(70_000, 35_001),
        "catalan(40000)": gmpy2.bincoef(80_000, 40_000) // 40_001,
    }
    for _ in range(60):
        text, exponent = random.choice(list(exponents.items()))
        base, addend = random.randint(-(10**9), 10**9), random.randint(0, 10**6)
        modulus = random.randint(1, 10 ** random.choice((1, 2, 3, 6, 20))) * 2 ** random.choice((0, 1, 2, 3, 9))
        expected = pow(base, int(exponent) + addend, modulus)
        assert value(f"({base})^({text} + {addend}) mod {modulus}") == str(expected)


@pytest.mark.parametrize(
    "text",
    [
        "2^((10^12)!) mod (10^40 + 1)",  # the modulus can't be factored in time
        "2^((10^12)! - (10^12 + 1)!) mod 13",  # the exponent is negative
        "2^binomial(3^10000, 2^10000) mod 97",  # the operands are not computed, and so the value has no lower bound
    ],
)
def test_an_exponent_that_cannot_be_reduced_is_refused_with_what_would_help(text: str) -> None:
    """If an exponent can't be reduced, the error says which moduli would allow this."""
    with pytest.raises(ResultTooLarge) as refused:
        EVALUATE.estimate(EVALUATE.parse({"expression": text}), 0)
    (problem,) = refused.value.problems
    assert "The modulus must then have at most 128 bits" in problem.detail


def test_the_residue_of_a_call_within_a_tree_counts_no_verification_by_a_prime() -> None:
    """The residue of a factorial within a larger expression is estimated as cheap, with ``%`` and with ``mod``."""
    texts = ("1 + (10^9)! % (2^61)", "1 + (10^9)! % (2^60)", "((10^9)! mod 2^61) + 1")
    assert all(EVALUATE.estimate(EVALUATE.parse({"expression": text}), 0).seconds < 0.01 for text in texts)


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("1/0", 1, "division by zero"),
        ("2 * (3 + 1/(2 - 2))", 10, "division by zero"),
        ("5 % (1 - 1)", 2, "division by zero"),
        ("0^-1", 1, "division by zero"),
        ("(1/0) mod 1", 2, "division by zero"),
        ("1 + 2^0.5", 5, "irrational"),
        ("(-8)^0.5", 4, "not real"),
        ("5 mod 0", 2, "whole number of 1 or more"),
        ("5 mod (1/2)", 2, "whole number of 1 or more"),
        ("1/3 mod 3", 4, "shares a factor"),
        ("1 + fibonacci(-1)", 4, "fibonacci is not defined here: n must be a whole number of 0 or more"),
        ("fibonacci(1/2)", 0, "fibonacci is not defined here"),
        ("sum(i, 1/2, 3, i)", 0, "whole numbers"),
        ("sum(i, 1, 10^18, i)", 0, "at most 1,000,000"),
        ("sum(i, -3, 3, 1/i)", 15, "division by zero"),
        ("sum(i, 1, 1000, 1/(i - 900))", 17, "division by zero"),
        ("prod(i, 1, 1000, i % (900 - i))", 19, "division by zero"),
        ("sum(i, 1, 1000, i^2 / (3 - 3))", 20, "division by zero"),
        ("isprime(1/2)", 0, "isprime is not defined here: n must be a whole number of 0 or more"),
        ("factorize(5 - 5)", 0, "factorize is not defined here: 0 is no product of primes"),
    ],
)
def test_what_has_no_value_is_refused_at_its_place(text: str, position: int, words: str) -> None:
    """A domain error has the pointer and the position of the part that has no value."""
    with pytest.raises(DomainError) as refused:
        result(text)
    (problem,) = refused.value.problems
    assert words in problem.detail
    assert (problem.pointer, problem.position) == ("/expression", position)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("9^9^9^9", 3),
        ("1 + 10^(10^10)", 6),
        ("1e1000000000", 0),
        ("(10^(10^10))!", 3),
        ("prod(i, 1, 10^6, i^1000)", 0),
        ("9^9^9^9 mod (10^40 + 1)", 3),
        ("fibonacci(10^(10^6))", 0),
        ("gcd(10^20000, 6^20000)", 0),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_computed(text: str, position: int) -> None:
    """The estimate refuses an expression that is too large, with the position of the part that causes this."""
    args = EVALUATE.parse({"expression": text})
    with pytest.raises(ResultTooLarge) as refused:
        EVALUATE.estimate(args, 0)
    assert [problem.position for problem in refused.value.problems] == [position]


@pytest.mark.parametrize(
    ("quick", "slow"),
    [
        ("3^(10^12) mod 10^20", "3^(7^(10^6)) mod (10^60 + 7)"),
        ("(10^4)! mod (10^30 + 57)", "(10^12)! mod (10^30 + 57)"),
        ("sum(i, 1, 10, i % 7)", "sum(i, 1, 10^6, i % 7)"),
        ("2^(10^5)", "2^(10^7)"),
        ("sum(i, 1, 9, fibonacci(i))", "sum(i, 1, 9, fibonacci(10^6 * i))"),
        ("2^(10^5) // 3^(10^4)", "2^(10^7) // 3^(10^6)"),
        ("sum(i, 1, 10, 0 * (i % 7)) mod 7", "sum(i, 1, 10^6, 0 * (i % 7)) mod 7"),  # known to be 0, but still computed
        ("sum(i, 1, 16, (i % 7) * 3)", "sum(i, 1, 16, (i % 7) * sum(k, 1, 300000, k % 3))"),
        ("sum(i, 1, 10, sum(j, i, i, j % 7))", f"sum(i, 1, 500, sum(j, i, i + 15, {MANY_PARTS}))"),
    ],
)
def test_what_takes_long_is_estimated_to_take_long(quick: str, slow: str) -> None:
    """Of two similar expressions, the slow one has an estimate of over 0.1 s and over twenty times the other's."""
    args = [EVALUATE.parse({"expression": text}) for text in (quick, slow)]
    short, long = (EVALUATE.estimate(each, 0).seconds for each in args)
    assert long > 20 * short
    assert long > 0.1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("sum(i, 1, 10000, 1 / i)", 0.0155),
        ("sum(i, 1, 20000, 1 / (i^2 + 1))", 0.066),
        ("sum(i, 1, 3000, 1 / (7^i + 1))", 3.1),
        ("sum(i, 1, 2000, 1 / 2^i)", 3.7e-3),
        ("sum(i, 1, 2000, i! / 3^i)", 0.5),
        ("sum(i, 1, 3000, 7^i + 1)", 0.021),
        ("prod(i, 1, 3000, 7^i + 1)", 0.42),
        ("prod(i, 1, 20000, i^2 + 3)", 0.023),
        ("prod(i, 1, 20000, (i^2 + 3) / (i^2 + 1))", 0.11),
        ("sum(i, 1, sum(k, 1, 1000, k), i^2 mod 7)", 0.6),  # the bounds of the inner sum are not exact
    ],
)
def test_the_time_for_sums_and_products(text: str, seconds: float) -> None:
    """The estimated time of a sum or product is within a factor of two of the measured time.

    This also holds if the terms have long denominators.
    """
    assert seconds / 2 < EVALUATE.estimate(EVALUATE.parse({"expression": text}), 0).seconds < seconds * 2


@pytest.mark.parametrize("precision", [1, 5, 50, 1_000])
@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("2^0.5", lambda: mpmath.sqrt(2)),
        ("2^(1/3) + 3^(1/2)", lambda: mpmath.cbrt(2) + mpmath.sqrt(3)),
        ("-(10^-30.5)", lambda: -1 / (mpmath.mpf(10) ** 30 * mpmath.sqrt(10))),
        ("(1 + 5^0.5) / 2", lambda: mpmath.mpf(mpmath.phi)),
        ("10^20.5 - 10^20", lambda: mpmath.mpf(10) ** 20 * (mpmath.sqrt(10) - 1)),
        ("2^0.5^0.5", lambda: mpmath.mpf(2) ** mpmath.sqrt(0.5)),
        ("(2^0.5)^(3^0.5)", lambda: mpmath.sqrt(2) ** mpmath.sqrt(3)),
    ],
)
def test_irrational_values_are_correctly_rounded(text: str, reference: Callable[[], object], precision: int) -> None:
    """All digits of a rounded value equal those of mpmath, which computes 50 digits more."""
    found = result(text, precision)
    with mpmath.workdps(precision + 50):
        nearest = Decimal(mpmath.nstr(reference(), precision + 20, strip_zeros=False))
    digits = found.text.decode()
    assert not found.exact
    assert Decimal(digits) == Context(prec=precision).plus(nearest)
    assert len(Decimal(digits).as_tuple().digits) == precision


@pytest.mark.parametrize(
    ("text", "expected", "exact"),
    [
        ("1/3", "1/3", True),
        ("4^0.5", "2", True),
        ("floor(100 * 2^0.5)", "141", True),
        ("round(10 * 2^0.5)", "14", True),
        ("ceil(-(2^0.5))", "-1", True),
        ("abs(1 - 2^0.5)", "0.4142135624", False),
        ("2^0.5 < 1.5", "true", True),
        ("2^0.5 == 1.5", "false", True),
        ("2^0.5 * 2^0.5", "2.000000000", False),
        ("0 * 2^0.5", "0", True),
        ("max(2^0.5, 3^0.5)", "1.732050808", False),
        ("sum(i, 1, 100, i^0.5)", "671.4629471", False),
        ("0 * (2^0.5)^(2^0.5)^(-9999)", "0", True),
        ("(-2)^(1/3)", "-1.259921050", False),
        ("1e100 + 1/3 - 1e100", "1/3", True),
        ("(1e100 + 2^0.5) - 1e100", "1.414213562", False),
        ("(1 + 1e-300)^0.5", "1.000000000", False),
        ("(1 - 1e-300)^0.5", "1.000000000", False),
        ("(1 + 10^-9999)^(1/3)", "1.000000000", False),
        ("(10^9998 + 1)^0.5", "1.000000000e+4999", False),
        ("(10^-5000)^(1/3)", "2.154434690e-1667", False),
        ("2^(10^-30)", "1.000000000", False),
        ("round(2^0.5 * 10^20)", "141421356237309504880", True),
        ("2^(10^-3000)", "1.000000000", False),
        ("2^(10^-3000) - 1", "6.931471806e-3001", False),
        ("(1 + 10^-3000)^0.5 - 1", "5.000000000e-3001", False),
        ("2^(10^-3000) > 1", "true", True),
        ("(2^0.5 * 10^2000) % 1", "0.3444911482", False),
        ("floor(2^0.5 * 10^2000)", str(isqrt(2 * 10**4000)), True),
        ("floor(2^0.5 * 10^2000) mod 97", str(isqrt(2 * 10**4000) % 97), True),
        ("(10^2000 + 2^0.5) - 10^2000", "1.414213562", False),
    ],
)
def test_a_precision_rounds_only_what_is_irrational(text: str, expected: str, exact: bool) -> None:
    """With a precision of 10 digits, each expression has the expected text, marked as exact or rounded."""
    assert result(text, 10) == Verified(expected.encode(), exact)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("binomial(-prod(i, 1, 3, 2), 30)", 8),  # 37 over 30
        ("sum(i, 1, 9, binomial(100, i!))", 23),  # 100 over 24 is 8·10^22
        ("gcd(prod(i, 0, 3, i), 10^30)", 31),
    ],
)
def test_a_call_with_unknown_arguments_has_at_most_the_estimated_digits(text: str, digits: int) -> None:
    """A function call has at most the estimated digits, even if it is largest between the bounds of its arguments."""
    args = EVALUATE.parse({"expression": text})
    assert len(value(text)) == digits
    assert EVALUATE.estimate(args, 0).digits >= digits


@pytest.mark.parametrize(
    ("text", "digits"),
    [("floor(0.001^(-100.5))", 302), ("floor(0.001^(-1/2))", 2), ("floor(1000^100.5)", 302), ("floor(8^(-0.5))", 1)],
)
def test_the_whole_part_of_an_irrational_power_has_at_most_the_estimated_digits(text: str, digits: int) -> None:
    """The whole part of an irrational power has as many digits as estimated, or at most two fewer.

    This also holds for negative powers of bases below 1.
    """
    args = EVALUATE.parse({"expression": text})
    assert len(value(text, 5)) == digits
    assert digits <= EVALUATE.estimate(args, 5).digits <= digits + 2


@pytest.mark.parametrize("distance", [10, 60, 500, 4_000])
def test_an_irrational_value_beside_a_tie_is_rounded_to_its_own_side(distance: int) -> None:
    """sqrt(1.23455² ± 10^-d), just above or below a tie, rounds to 1.2346 or 1.2345."""
    assert value(f"(1.23455^2 + 10^-{distance})^0.5", 5) == "1.2346"
    assert value(f"(1.23455^2 - 10^-{distance})^0.5", 5) == "1.2345"


class CountedEnclosure:
    """An enclosure of a square root, which counts the digits that are read."""

    def __init__(self, square: Fraction, bits: int) -> None:
        with flint.ctx.workprec(bits):
            self._root = flint.arb(flint.fmpq(square.numerator, square.denominator)).sqrt()
        self.read = 0

    def mid_rad_10exp(self, digits: int) -> object:
        self.read += digits
        return self._root.mid_rad_10exp(digits)


@pytest.mark.parametrize(
    ("square", "nearest", "most"),
    [
        (Fraction(2), "1.4142", 15),
        (Fraction("1.23455") ** 2 + Fraction(1, 10**999), "1.2346", 15 + 30_102),
    ],
)
def test_rounding_reads_all_digits_only_beside_a_tie(square: Fraction, nearest: str, most: int) -> None:
    """Rounding to 5 digits reads 15 digits of an enclosure.

    Only if the value is beside a tie, it reads all 30,102 digits of the enclosure, which has 100,000 bits.
    """
    enclosure = CountedEnclosure(square, 100_000)
    assert rounded(0, enclosure, 5, 100_000).text() == nearest
    assert enclosure.read <= most


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("2^0.5 * 2^0.5 == 2", 14),
        ("2^0.5 - 2^0.5", 6),
        ("floor((2^0.5)^2)", 0),
        ("1 / (2^0.5 - 2^0.5)", 2),
        ("(2^0.5)^2 - 2", 10),
        ("2^0.5 == 2^0.5", 6),
        ("abs(2^0.5 - 2^0.5)", 0),
        ("(10^(10^6) + 2^0.5) - 10^(10^6)", 20),
    ],
)
def test_what_enclosures_cannot_decide_is_refused(text: str, position: int) -> None:
    """An expression is refused if interval arithmetic can't decide it, for example if equal irrational parts cancel."""
    with pytest.raises(DomainError) as refused:
        result(text, 10)
    (problem,) = refused.value.problems
    assert problem.position == position
    assert "this part can't be rounded or compared" in problem.detail


@pytest.mark.parametrize(("text", "position"), [("2^0.5 * 10^4000000", 6), ("2^(-10^8 - 0.5)", 1)])
def test_a_rounded_part_far_from_1_is_refused_with_its_own_limit(text: str, position: int) -> None:
    """A rounded part that is too large, or too close to 0, is refused; the error states the limit for rounded parts."""
    with pytest.raises(ResultTooLarge) as refused:
        result(text, 10)
    (problem,) = refused.value.problems
    assert (problem.position, refused.value.limit) == (position, 3_010_300)
    assert problem.detail.startswith("A rounded part may have at most 3,010,300 digits before the decimal point")


Q = 10**12 + 39  # a prime


def factorial_modulo_q(n: int) -> int:
    """Return n! modulo the prime Q for an n just below Q, by Wilson's theorem: (Q - 1)! is -1 modulo Q."""
    above = 1
    for factor in range(n + 1, Q):
        above = above * factor % Q
    return -pow(above, -1, Q) % Q


def test_huge_factorials_are_parts_of_residues() -> None:
    """Sums, products, powers, quotients and loops over a huge n! have the right residue, without computing n!."""
    random = Random(4)  # noqa: S311  # operands, no secrets
    for _ in range(2):
        a, b, c = (random.randint(2, 10**6) for _ in range(3))
        n, m = Q - random.randint(2, 60), Q - random.randint(2, 60)
        f, g = factorial_modulo_q(n), factorial_modulo_q(m)
        for text, expected in (
            (f"{n}! + {a}", f + a),
            (f"{a} * {n}! - {b} * {m}!", a * f - b * g),
            (f"({n}! + {a}) * ({m}! - {b})", (f + a) * (g - b)),
            (f"({n}! + {a})^{c}", pow(f + a, c, Q)),
            (f"{a} / ({n}! + {b})", a * pow(f + b, -1, Q)),
            (f"sum(i, 1, 5, i^3 * {n}! + i)", sum(i**3 * f + i for i in range(1, 6))),
            (f"({a}^{n} + {n}!) * fibonacci({b})", (pow(a, n, Q) + f) * int(gmpy2.fib(b))),
        ):
            assert value(f"({text}) mod {Q}") == str(expected % Q), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("((10^12)! + 1) mod 97", "1"),
        ("((10^18)! + 2^(10^18)) mod 97", str(pow(2, 10**18, 97))),
        ("((10^18)! + 1) % 97 + 3", "4"),
        ("((10^12)! + 10^400) mod 10^300 == (10^12)! mod 10^300", "true"),
        ("(binomial(10^18, 5 * 10^17) + 5) mod 9", "5"),
    ],
)
def test_a_part_that_has_a_residue_needs_no_value(text: str, expected: str) -> None:
    """A huge operand of ``mod`` or ``%`` is not computed in full: the estimate is below 5 s, and the value is right."""
    assert EVALUATE.estimate(EVALUATE.parse({"expression": text}), 0).seconds < 5
    assert value(text) == expected


def test_floors_of_long_irrational_values_are_right() -> None:
    """floor(b^(p/q)·10^k) equals the integer q-th root of b^p·10^(kq) that GMP computes."""
    random = Random(3)  # noqa: S311  # operands, no secrets
    for _ in range(200):
        b, p, q, k = (random.randint(2, most) for most in (1_000, 20, 9, 3_000))
        expected, _ = gmpy2.iroot(gmpy2.mpz(b) ** p * gmpy2.mpz(10) ** (k * q), q)
        assert result(f"floor({b}^({p}/{q}) * 10^{k})", 10) == Verified(expected.digits().encode(), True)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("2^200 + 1", str(2**200 + 3)),
        ("fibonacci(1000) // 7", "12345"),
        ("1/3 + 1/7", "11/21"),
        ("3^(10^12) mod 10^20", "78655220000000000003"),
        ("10^30 < 2^100", "false"),
        ("sum(i, 1, 100, i^2)", "338351"),
        ("0.5", "0.25"),
        ("isprime(2^89 - 1)", "false"),
        ("isprime(91)", "true"),
        ("factorize(2^4 * 3)", '[{"prime":2,"exponent":4}]'),
    ],
)
def test_a_wrong_text_is_found(text: str, wrong: str) -> None:
    """The verification of an expression's result rejects a wrong text and accepts the right one."""
    args = EVALUATE.parse({"expression": text})
    right = EVALUATE.result(args, 0, exact=True)
    assert EVALUATE.verified(args, 0, right.text, exact=True) == right
    with pytest.raises(VerificationFailed):
        EVALUATE.verified(args, 0, wrong.encode(), exact=True)


def test_a_wrong_rounding_is_found() -> None:
    """Verification rejects a rounded value whose last digit is wrong."""
    args = EVALUATE.parse({"expression": "2^0.5"})
    assert EVALUATE.verified(args, 5, b"1.4142", exact=False) == Verified(b"1.4142", False)
    with pytest.raises(VerificationFailed):
        EVALUATE.verified(args, 5, b"1.4143", exact=False)


class _Wrong(Fibonacci):
    """An operation whose values are too large by one."""

    def compute(self, args: Integers, precision: int) -> bytes:
        return b"%d" % (int(super().compute(args, precision)) + 1)


WRONG = Evaluate({**OPERATIONS, "fibonacci": _Wrong()})


def test_a_wrong_value_of_an_operation_never_leaves() -> None:
    """If an operation computes a wrong value, verification by another method raises VerificationFailed."""
    with pytest.raises(VerificationFailed):
        WRONG.result(WRONG.parse({"expression": "fibonacci(1000) * 3"}), 0, exact=True)


@pytest.mark.parametrize("text", ["isprime(fibonacci(7) + 4)", "factorize(fibonacci(7) + 4)"])
def test_a_wrong_argument_of_a_function_without_a_number_is_found(text: str) -> None:
    """If the result is not a number, the verification checks the function's argument, and rejects a wrong one."""
    answer = result(text.replace("4", "5"))
    args = WRONG.parse({"expression": text})
    with pytest.raises(VerificationFailed):
        WRONG.verified(args, 0, answer.text, exact=True)
    with pytest.raises(VerificationFailed):
        WRONG.result(args, 0, exact=True)


def test_a_missing_expression_is_refused() -> None:
    """A missing expression is a validation error that points to the member ``expression``."""
    with pytest.raises(InvalidInput) as refused:
        EVALUATE.parse({})
    assert [problem.pointer for problem in refused.value.problems] == ["/expression"]


def test_equal_canonical_forms_have_one_key() -> None:
    """Expressions with the same canonical form have the same cache key; another precision gives another key."""
    one, other = (EVALUATE.parse({"expression": text}) for text in ("2 ^ 10", "pow(2,10)"))
    assert EVALUATE.key(one, 0) == EVALUATE.key(other, 0) != EVALUATE.key(one, 20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("96! mod 97", "96"),  # Wilson: (p - 1)! = -1
        ("(10^18)! mod 97", "0"),
        ("binomial(97^9 + 5, 3) mod 97", "10"),  # Lucas's theorem: the last digits in base 97 are 5 and 3
        (
            "binomial(10^6, 5*10^5) mod 166153499473114561646947067345511247",
            "35787529830991907416461691007056695",
        ),  # by math.comb
        ("(fibonacci(10^1000) mod 97) + 1", "45"),
    ],
)
def test_the_residue_of_a_call_takes_no_more_than_the_operation_s(text: str, expected: str) -> None:
    """A function whose value is reduced by ``mod`` may have a huge argument: the estimate is below 10 s."""
    args = EVALUATE.parse({"expression": text})
    assert EVALUATE.estimate(args, 0).seconds < 10
    assert value(text) == expected


@pytest.mark.parametrize("call", ["factorial(20)", "fibonacci(10^18)", "(10^5)!"])
def test_an_estimate_builds_no_long_modulus(call: str) -> None:
    """The estimate of a residue modulo 3^600000000 takes less than 16 MB, although the modulus alone has 119 MB.

    A modulus of half the length is estimated to take less time.
    """
    half, whole = (EVALUATE.parse({"expression": f"{call} mod 3^{power}"}) for power in (300_000_000, 600_000_000))
    tracemalloc.start()
    try:
        longer = EVALUATE.estimate(whole, 0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16_000_000
    assert EVALUATE.estimate(half, 0).seconds < longer.seconds


def test_the_body_of_an_empty_sum_needs_no_value() -> None:
    """A sum that may be empty is not refused, although a part of its body has no value."""
    assert value("sum(k, sum(j, 1, 300, j), 39, gcd(k, sum(j, -35, 114, fibonacci(j))))") == "0"
    assert value("sum(n, 1, 20, sum(i, 1, n % (1/3), (n + i)^(10^18)))") == "0"


def test_an_estimate_keeps_no_sizes_of_single_terms() -> None:
    """The estimate of three nested sums takes less than 10 MB, although it samples many terms of 4,000 bits."""
    terms = " + ".join(["k * 8^1350"] * 400)
    args = EVALUATE.parse({"expression": f"sum(i, 1, 9, sum(j, 1, 9, sum(k, 1, 9, {terms})))"})
    tracemalloc.start()
    try:
        EVALUATE.estimate(args, 0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


def test_the_verification_modulo_a_prime_is_estimated() -> None:
    """The estimate of a residue of n! + 1 includes the verification, which computes n! again modulo a large prime."""
    args = EVALUATE.parse({"expression": "((9 * 10^8)! + 1) mod 97"})
    assert EVALUATE.estimate(args, 0).seconds > 0.3


@pytest.mark.parametrize(("text", "position"), [("1 + modinverse(2, 4)", 4), ("2 * factorial(0 - 1)", 4)])
def test_an_operation_s_error_points_at_its_call(text: str, position: int) -> None:
    """If an operation in an expression has no value, the error has the position of the operation's name."""
    with pytest.raises(DomainError) as refused:
        result(text)
    assert [problem.position for problem in refused.value.problems] == [position]


@pytest.mark.parametrize("text", ["3^(1e20000) % 97", "(3^(1e20000) mod 97) + 0"])
def test_flint_is_not_imported_on_the_event_loop(text: str) -> None:
    """A residue that needs FLINT is estimated as too slow for the event loop, because importing FLINT takes long."""
    assert EVALUATE.estimate(EVALUATE.parse({"expression": text}), 0).seconds > INLINE_SECONDS


@pytest.mark.parametrize("text", ["factorize(2^64 + 1)", "factorize(floor(2^0.5 * 10^12))"])
def test_the_steps_of_a_call_end_with_its_result(text: str) -> None:
    """The partial results of a factorization end with the whole result, which is verified; a wrong one is rejected."""
    args = EVALUATE.parse({"expression": text})
    steps = EVALUATE.steps(args, 20)
    assert steps is not None
    *_, last = steps
    assert EVALUATE.verified(args, 20, last, exact=True) == result(text, 20)
    with pytest.raises(VerificationFailed):
        EVALUATE.verified(args, 20, b'[{"prime":2,"exponent":4}]', exact=True)


def test_the_steps_of_a_call_compute_nothing_before_the_first() -> None:
    """``steps`` computes nothing in advance: taking the first item raises the error of an undefined argument."""
    steps = EVALUATE.steps(EVALUATE.parse({"expression": "factorize(1 / (2 - 2))"}), 0)
    assert steps is not None
    with pytest.raises(DomainError):
        next(steps)


@pytest.mark.parametrize("text", ["2 + 2", "isprime(97)"])
def test_other_expressions_have_no_steps(text: str) -> None:
    """Only a call of an operation such as ``factorize`` has partial results; for others, ``steps`` returns None."""
    assert EVALUATE.steps(EVALUATE.parse({"expression": text}), 0) is None


@pytest.mark.parametrize("text", ["((10^12)! + 1) mod 97", "(binomial(-(10^12), 5*10^8) + 1) mod 97"])
def test_a_residue_that_takes_long_modulo_a_prime_is_verified_by_the_operation(text: str) -> None:
    """If a function takes long modulo a large prime, its residue is verified by another method of its operation.

    The estimate, which includes the verification, is therefore below 1 s.
    """
    args = EVALUATE.parse({"expression": text})
    assert EVALUATE.estimate(args, 0).seconds < 1
    assert EVALUATE.result(args, 0, exact=True).exact


def test_a_sum_of_powers_with_a_huge_exponent_has_a_residue() -> None:
    """A sum of powers has a residue even if the exponent is too large for a float."""
    exponent = 10**400 + 1
    expected = sum(pow(i, exponent, 97) for i in range(1, 101)) % 97
    assert value(f"sum(i, 1, 100, i^{exponent}) mod 97") == str(expected)


def test_an_operation_without_a_method_for_residues_is_refused_at_its_place() -> None:
    """A residue is refused before anything is computed if a part is needed in full and may be too long.

    Parts of an expression have at most 10^9 bits, which are about 301,030,000 digits.
    """
    with pytest.raises(ResultTooLarge, match="more than 301,030,000 digits") as refused:
        EVALUATE.estimate(EVALUATE.parse({"expression": "(5 + primorial(10^9)) mod 7"}), 0)
    assert [problem.position for problem in refused.value.problems] == [5]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("primorial(prod(i, 1, 20, 10)) mod 7", 0),
        ("1 + binomial(prod(i, 1, 30, 10), prod(i, 1, 30, 10) // 2)", 4),
        ("((1e400)! mod (9^9^9^9)) mod 7", 18),
        ("5! mod (2^0.5)^(10^400)", 3),
        ("(10^400)! % (10^5000)!", 8),
    ],
)
def test_what_only_the_computation_finds_too_large_is_refused_at_its_place(text: str, position: int) -> None:
    """A part that is too large is refused with its position, even if its size is unknown before the computation."""
    with pytest.raises(ResultTooLarge) as refused:
        result(text, 50)
    assert [problem.position for problem in refused.value.problems] == [position]
