"""Results and summaries, compared with tables and identities that are independent of this code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time

import mpmath  # type: ignore[import-untyped,unused-ignore]
import pytest

from pycalc.services.operations.numbers.texts import describe
from tests.harness.mission import THREE

F_1000 = (
    "43466557686937456435688527675040625802564660517371780402481729089536555417949051890403879840079255169295922593"
    "080322634775209689623239873322471161642996440906533187938298969649928516003704476137795166849228875"
)


def compute(name: str, raw: dict[str, str], precision: int = 50) -> str:
    """Return the result's text, after checking it, and comparing it with its estimate and its summary."""
    operation = THREE[name]
    args = operation.parse(raw)
    text = operation.compute(args, precision)
    assert operation.verify(args, precision, text, 2**61 - 1)
    estimate, facts = operation.estimate(args, precision), describe(text)
    assert estimate.digits <= facts.digits <= estimate.digits + (0 if estimate.exact else 6)
    if estimate.exact:
        assert operation.summary(args) == facts
    return str(text, "ascii")


@pytest.mark.parametrize(
    ("n", "value"),
    [
        ("0", "0"),
        ("1", "1"),
        ("2", "1"),
        ("6", "8"),
        ("7", "13"),
        ("10", "55"),
        ("93", "12200160415121876738"),
        ("100", "354224848179261915075"),
        ("1000", F_1000),
    ],
)
def test_fibonacci_numbers(n: str, value: str) -> None:
    """Each Fibonacci number is that of OEIS A000045."""
    assert compute("fibonacci", {"n": n}) == value


@pytest.mark.parametrize(
    ("n", "value"),
    [
        ("0", "1"),
        ("1", "1"),
        ("5", "120"),
        ("20", "2432902008176640000"),
        ("25", "15511210043330985984000000"),
        ("50", "30414093201713378043612608166064768844377641568960512000000000000"),
    ],
)
def test_factorials(n: str, value: str) -> None:
    """Each factorial is that of OEIS A000142."""
    assert compute("factorial", {"n": n}) == value


@pytest.mark.parametrize(
    ("x", "y", "value"),
    [
        ("2", "3", "8"),
        ("2", "100", "1267650600228229401496703205376"),
        ("-2", "63", "-9223372036854775808"),
        ("2.5", "3", "15.625"),
        ("-1.5", "2", "2.25"),
        ("0.1", "5", "0.00001"),
        ("300", "3", "27000000"),
        ("1e3", "4", "1000000000000"),
        ("2", "-1", "0.5"),
        ("2", "-10", "0.0009765625"),
        ("-5", "-3", "-0.008"),
        ("10", "-3", "0.001"),
        ("2.5", "-2", "0.16"),
        ("3", "-1", "1/3"),
        ("-3", "-3", "-1/27"),
        ("-3", "-2", "1/9"),
        ("0.3", "-2", "100/9"),
        ("30", "-2", "1/900"),
        ("0.6", "-1", "5/3"),
        ("1.2", "-3", "125/216"),
        ("4", "0.5", "2"),
        ("0.25", "0.5", "0.5"),
        ("32", "0.2", "2"),
        ("1e-4", "0.25", "0.1"),
        ("2.25", "1.5", "3.375"),
        ("4", "-0.5", "0.5"),
        ("9", "-0.5", "1/3"),
        ("-32", "0.2", "-2"),
        ("-32", "0.4", "4"),
        ("-32", "-0.6", "-0.125"),
        ("-243", "-0.2", "-1/3"),
        ("1e1000", "0.001", "10"),
        ("16", "0.0625", "1.1892071150027210667174999705604759152929720924638"),
        ("65536", "0.0625", "2"),
        ("0", "0", "1"),
        ("0", "2.5", "0"),
        ("7", "0", "1"),
        ("1e999999999", "0", "1"),
        ("1", "1e-18", "1"),
        ("-1", "0.2", "-1"),
        ("-1", "-0.4", "1"),
        ("-1", "123456789012345678901234567890", "1"),
        ("2", "0.5", "1.4142135623730950488016887242096980785696718753769"),
        ("0.5", "0.5", "0.70710678118654752440084436210484903928483593768847"),
        ("2", "0.1", "1.0717734625362931642130063250233420229063846049776"),
        ("1e-13", "0.5", "3.1622776601683793319988935444327185337195551393252e-7"),
        ("1e-11", "0.5", "0.0000031622776601683793319988935444327185337195551393252"),
        ("1e1000000000001", "0.5", "3.1622776601683793319988935444327185337195551393252e+500000000000"),
        ("1e-1000000000001", "0.5", "3.1622776601683793319988935444327185337195551393252e-500000000001"),
        ("2", "1e-999999999", "1." + "0" * 49),
        ("0.5", "1e-999999999", "1." + "0" * 49),
    ],
)
def test_powers(x: str, y: str, value: str) -> None:
    """Integers, decimals, fractions, exact roots and roundings agree with tables (sqrt(2), sqrt(10), 2^(1/10))."""
    assert compute("pow", {"x": x, "y": y}) == value


def test_a_thousand_digit_number_is_no_obstacle() -> None:
    """CPython's limit of 4,300 digits for conversions affects neither operands nor results."""
    assert compute("pow", {"x": "1" + "0" * 4_999 + "1", "y": "2"}) == "1" + "0" * 4_999 + "2" + "0" * 4_999 + "1"
    assert compute("pow", {"x": "3" * 6_000, "y": "1"}) == "3" * 6_000


@pytest.mark.parametrize("n", [10**18, 10**30, 10**18 - 1])
def test_summary_of_a_fibonacci_number_that_nobody_can_write(n: int) -> None:
    """The summary of a huge F(n) agrees with Binet's formula in mpmath, and its last digits with matrix powers."""
    operation = THREE["fibonacci"]
    summary = operation.summary(operation.parse({"n": str(n)}))
    with mpmath.workdps(80):
        log = n * mpmath.log10(mpmath.phi) - mpmath.log10(5) / 2
        assert summary.digits == int(mpmath.floor(log)) + 1
        assert summary.leading == str(int(mpmath.floor(mpmath.power(10, log - mpmath.floor(log) + 19))))
    assert summary.trailing == str(_fibonacci_by_matrix(n, 10**20)).rjust(20, "0")


def test_a_summary_costs_less_than_a_value_of_200_000_digits() -> None:
    """The summaries of the largest arguments take less processor time than the value of F(10^6)."""
    largest, fibonacci = str(10**18 - 1), THREE["fibonacci"]

    def spent(work: Callable[[], object]) -> float:
        began = process_time()
        work()
        return process_time() - began

    value = partial(fibonacci.compute, fibonacci.parse({"n": "1000000"}), 50)
    least = min(spent(value) for _ in range(3))
    for name, raw in (("fibonacci", {"n": largest}), ("factorial", {"n": largest}), ("pow", {"x": "7", "y": largest})):
        summary = partial(THREE[name].summary, THREE[name].parse(raw))
        assert min(spent(summary) for _ in range(3)) < least, name


@pytest.mark.parametrize("n", [10**18, 10**6, 123_456_789])
def test_summary_of_a_factorial_that_nobody_can_write(n: int) -> None:
    """The summary of a huge n! has the length and first digits that mpmath's log-gamma gives, and ends in 20 zeros."""
    operation = THREE["factorial"]
    summary = operation.summary(operation.parse({"n": str(n)}))
    with mpmath.workdps(80):
        log = mpmath.loggamma(mpmath.mpf(n) + 1) / mpmath.log(10)
        assert summary.digits == int(mpmath.floor(log)) + 1
        assert summary.leading == str(int(mpmath.floor(mpmath.power(10, log - mpmath.floor(log) + 19))))
    assert summary.trailing == "0" * 20


@pytest.mark.parametrize(("x", "y"), [(7, 10**18), (3, 10**18 + 1), (999_999_999, 10**17), (2, 10**40)])
def test_summary_of_a_power_that_nobody_can_write(x: int, y: int) -> None:
    """The summary of a huge power has the size and first digits by mpmath, and the last digits by modular powers."""
    operation = THREE["pow"]
    summary = operation.summary(operation.parse({"x": str(x), "y": str(y)}))
    with mpmath.workdps(120):
        log = y * mpmath.log10(x)
        assert summary.digits == int(mpmath.floor(log)) + 1
        assert summary.leading == str(int(mpmath.floor(mpmath.power(10, log - mpmath.floor(log) + 19))))
    assert summary.trailing == str(pow(x, y, 10**20)).rjust(20, "0")


def test_the_summary_of_a_long_decimal_counts_its_digits() -> None:
    """The summary of 0.5^(10^18) counts 10^18 + 1 digits, and its last digits are those of 5^(10^18)."""
    operation = THREE["pow"]
    args = operation.parse({"x": "0.5", "y": "1e18"})
    summary = operation.summary(args)
    assert operation.estimate(args, 50).digits == summary.digits == 10**18 + 1
    assert (summary.leading, summary.trailing) == ("0" * 20, str(pow(5, 10**18, 10**20)).rjust(20, "0"))


def test_a_power_of_a_huge_power_of_ten_is_known() -> None:
    """(1e999999999)^(1e18) is a one followed by zeros: it is never computed, and its size is exact."""
    operation = THREE["pow"]
    args = operation.parse({"x": "1e999999999", "y": "1e18"})
    assert operation.estimate(args, 50).digits == 999_999_999 * 10**18 + 1
    assert operation.summary(args).leading == "1" + "0" * 19


def _fibonacci_by_matrix(n: int, modulus: int) -> int:
    a, b, c, d = 1, 0, 0, 1
    p, q, r, s = 1, 1, 1, 0
    while n:
        if n & 1:
            a, b, c, d = (
                (a * p + b * r) % modulus,
                (a * q + b * s) % modulus,
                (c * p + d * r) % modulus,
                (c * q + d * s) % modulus,
            )
        p, q, r, s = (
            (p * p + q * r) % modulus,
            (p * q + q * s) % modulus,
            (r * p + s * r) % modulus,
            (r * q + s * s) % modulus,
        )
        n >>= 1
    return b
