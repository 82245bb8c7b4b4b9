"""Powers, compared with FLINT and mpmath for random and unusual arguments."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import flint  # type: ignore[import-untyped,unused-ignore]
import mpmath  # type: ignore[import-untyped,unused-ignore]
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pycalc.errors import DomainError
from pycalc.services.operations.numbers.modular import random_prime
from pycalc.services.operations.numbers.texts import describe
from tests.harness.mission import THREE

POWER = THREE["pow"]


@st.composite
def decimals(draw: st.DrawFn, digits: int = 12, places: int = 6) -> str:
    """Return a decimal literal, often near a power of ten, or with many zeros."""
    unscaled = draw(
        st.one_of(
            st.integers(-(10**digits), 10**digits),
            st.integers(0, digits).flatmap(lambda k: st.integers(10**k - 1, 10**k + 1)),
        )
    )
    exponent = draw(st.integers(-places, places))
    return f"{unscaled}e{exponent}"


@st.composite
def fractions(draw: st.DrawFn, largest: int = 10**9) -> str:
    """Return a fraction as a literal, often with a denominator that divides a power of ten."""
    denominator = draw(st.integers(1, largest)) * draw(st.sampled_from([1, 1, 10, 8, 625]))
    return f"{draw(st.integers(-largest, largest))}/{denominator}"


def rational(text: bytes) -> Fraction:
    """Return the number that a decimal or fraction, as text, represents."""
    numerator, _, denominator = text.decode().partition("/")
    return Fraction(Decimal(numerator)) / Fraction(Decimal(denominator or "1"))  # int() refuses over 4,300 digits


def checked(x: str, y: str, precision: int) -> tuple[bytes, bool]:
    """Return a power as text and whether it is exact, after checking its verification, estimate and summary."""
    args = POWER.parse({"x": x, "y": y})
    text = POWER.compute(args, precision)
    assert POWER.verify(args, precision, text, random_prime())
    estimate, facts = POWER.estimate(args, precision), describe(text)
    assert estimate.digits <= facts.digits <= estimate.digits + (0 if estimate.exact else 6)
    if estimate.exact:
        assert POWER.summary(args) == facts
    return text, estimate.exact


@given(decimals() | fractions(), st.integers(-60, 60))
@settings(max_examples=600)
def test_integer_exponents_are_exact(x: str, y: int) -> None:
    """A whole exponent gives the exact rational: a decimal if it terminates, else a fraction in lowest terms."""
    assume(Fraction(x) != 0 or y >= 0)
    text, exact = checked(x, str(y), 20)
    expected = Fraction(x) ** y
    assert exact
    assert rational(text) == expected
    assert (b"/" in text) == bool(set(_prime_factors(expected.denominator)) - {2, 5})
    if b"/" in text:
        assert text.decode() == f"{expected.numerator}/{expected.denominator}"


@given(
    st.integers(1, 5_000),
    st.integers(1, 9),
    st.sampled_from(["0.5", "0.2", "0.25", "0.1", "0.125", "0.04"]),
    st.integers(-3, 3),
)
@settings(max_examples=200)
def test_exact_roots_are_found(root: int, numerator: int, unit: str, scale: int) -> None:
    """(r·10^s)^b raised to a/b is exactly (r·10^s)^a."""
    degree = Fraction(unit).denominator
    base = Fraction(root) * Fraction(10) ** scale
    text, exact = checked(_literal(base**degree), _literal(numerator * Fraction(unit)), 20)
    assert exact
    assert rational(text) == base**numerator


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 12), st.integers(-5, 5), st.sampled_from(["", "-"]))
@settings(max_examples=300)
def test_exact_roots_of_fractions_are_found(above: int, below: int, degree: int, numerator: int, sign: str) -> None:
    """((p/q)^b)^(a/b) is exactly (p/q)^a. A negative base has a real power only if b is odd in lowest terms."""
    text = f"{sign}{above**degree}/{below**degree}"
    try:
        found, exact = checked(text, f"{numerator}/{degree}", 20)
    except DomainError:
        assert sign
        assert Fraction(numerator, degree).denominator % 2 == 0
        return
    power = Fraction(above, below) ** numerator
    negative = sign and (Fraction(numerator, degree).numerator % 2)
    assert exact
    assert rational(found) == (-power if negative else power)


@given(decimals() | fractions(), decimals(digits=4, places=3) | fractions(largest=5_000), st.integers(1, 120))
@settings(max_examples=600)
def test_roundings_are_correct(x: str, y: str, precision: int) -> None:
    """A rounded power differs from the exact value, as enclosed by FLINT, by less than half its last digit's unit."""
    base, exponent = Fraction(x), Fraction(y)
    assume(base != 0 and abs(exponent) < 300)
    try:
        text, exact = checked(x, y, precision)
    except DomainError:
        assert base < 0
        assert exponent.denominator % 2 == 0
        return
    sign = -1 if base < 0 and exponent.numerator % 2 else 1
    with _flint_precision(2_000 + 4 * precision):
        value = sign * (abs(_arb(base)) ** _arb(exponent))
        if exact:
            assert value.overlaps(_arb(rational(text)))
            return
        digits = text.decode().partition("e")[0].lstrip("-0.").replace(".", "")
        assert len(digits) == precision
        given_value = Fraction(text.decode())
        unit = abs(given_value) / int(digits)
        assert abs(value - _arb(given_value)) < _arb(unit / 2)


@given(st.integers(2, 10**15), st.integers(1, 10**6))
@settings(max_examples=60)
def test_roundings_agree_with_mpmath(x: int, y: int) -> None:
    """x^(y/10^6) to 30 digits differs from mpmath's value by less than one part in 10^29."""
    text, exact = checked(str(x), f"{y}e-6", 30)
    with mpmath.workdps(70):
        value = mpmath.power(x, mpmath.mpf(y) / 10**6)
        assert exact or abs(mpmath.mpf(text.decode()) / value - 1) < mpmath.mpf(10) ** -29


@given(decimals() | fractions(), st.integers(-(10**40), 10**40), st.integers(1, 10**30))
@settings(max_examples=400)
def test_residues_agree_with_flint(x: str, y: int, modulus: int) -> None:
    """Residues of powers equal FLINT's; if a required modular inverse does not exist, DomainError is raised."""
    base = Fraction(x)
    assume(base != 0)
    args = POWER.parse({"x": x, "y": str(y)})
    numerator, denominator = base.as_integer_ratio()
    if y < 0:
        numerator, denominator = denominator, numerator
    ring = flint.fmpz_mod_ctx(modulus)
    try:
        expected = (ring(numerator) * ring(denominator).inverse()) ** abs(y)
    except ZeroDivisionError:
        assume(modulus > 1 and y != 0)
        try:
            POWER.modulo(args, modulus)
        except DomainError:
            return
        raise AssertionError("a residue was returned, although there is no inverse") from None
    assert POWER.modulo(args, modulus) == int(expected)


class _flint_precision:  # noqa: N801
    def __init__(self, bits: int) -> None:
        self._bits = bits

    def __enter__(self) -> None:
        self._before = flint.ctx.prec
        flint.ctx.prec = self._bits

    def __exit__(self, *_: object) -> None:
        flint.ctx.prec = self._before


def _arb(value: Fraction) -> flint.arb:
    return flint.arb(value.numerator) / flint.arb(value.denominator)


def _literal(value: Fraction) -> str:
    places = 0
    while value.denominator != 1:
        value, places = value * 10, places + 1
    return f"{value.numerator}e-{places}"


def _prime_factors(number: int) -> list[int]:
    return (
        [int(prime) for prime, _ in flint.fmpz(number).factor()] if number > 1 and number < 10**40 else _cheap(number)
    )


def _cheap(number: int) -> list[int]:
    factors = []
    for prime in (2, 5):
        if number % prime == 0:
            factors.append(prime)
        while number % prime == 0:
            number //= prime
    return [*factors, *([number] if number > 1 else [])]
