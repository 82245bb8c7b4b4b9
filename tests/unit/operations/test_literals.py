"""Number literals: which ones are accepted, and how the others are refused."""

from __future__ import annotations

import pickle

import pytest

from pycalc.errors import DomainError, InvalidInput
from pycalc.services.operations import OPERATIONS

NATURAL_OPERATIONS = ("fibonacci", "factorial")
NOT_NATURAL = (
    "-1",
    "abc",
    "1.5",
    "",
    "NaN",
    "inf",
    "+5",
    "1_000",
    " 7",
    "7 ",
    "7\n",
    "٣",
    "²",
    "0x10",
    "1e3",
    "-",
    "--1",
)
NOT_DECIMAL = (
    "",
    "abc",
    "NaN",
    "inf",
    "-inf",
    "0x10",
    "1_0",
    "1.",
    ".",
    "1e",
    "e5",
    "1.5.2",
    "+-1",
    "1 ",
    "\n2",
    "٣",
    "1/2",
)


@pytest.mark.parametrize("name", NATURAL_OPERATIONS)
@pytest.mark.parametrize("text", [*NOT_NATURAL, "1" * 10_001])
def test_a_wrong_natural_number_is_refused_with_a_pointer(name: str, text: str) -> None:
    """Anything but ASCII digits is a validation error at /n."""
    with pytest.raises(InvalidInput) as caught:
        OPERATIONS[name].parse({"n": text})
    assert [problem.pointer for problem in caught.value.problems] == ["/n"]
    assert caught.value.detail.startswith("n ")


def test_a_negative_natural_number_is_refused_with_the_range() -> None:
    """-1 and a text without digits are refused with the same sentence, which states form and range."""
    for text in ("-1", "one"):
        with pytest.raises(InvalidInput, match=r"^n must be a whole number of 0 or more, in the digits 0-9\.$"):
            OPERATIONS["fibonacci"].parse({"n": text})


def test_a_missing_operand_is_refused() -> None:
    """Every operand is required, and the error of a missing one points to it."""
    with pytest.raises(InvalidInput) as caught:
        OPERATIONS["pow"].parse({})
    assert [problem.pointer for problem in caught.value.problems] == ["/x", "/y"]


@pytest.mark.parametrize("text", [*NOT_DECIMAL, "1" * 10_001, "1e1000000000000000001", "1e-" + "9" * 5_000])
def test_a_wrong_decimal_is_refused_with_a_pointer(text: str) -> None:
    """Anything but a decimal literal is a validation error that points to its operand."""
    for raw, pointer in (({"x": text, "y": "1"}, "/x"), ({"x": "1", "y": text}, "/y")):
        with pytest.raises(InvalidInput) as caught:
            OPERATIONS["pow"].parse(raw)
        assert [problem.pointer for problem in caught.value.problems] == [pointer]


@pytest.mark.parametrize("name", NATURAL_OPERATIONS)
def test_naturals_are_canonical(name: str) -> None:
    """Leading zeros change neither the displayed input nor the cache key."""
    operation = OPERATIONS[name]
    args = operation.parse({"n": "00042"})
    assert operation.input(args) == {"n": 42}
    assert operation.key(args, 50) == operation.key(operation.parse({"n": "42"}), 7) == f"{name}:42"


@pytest.mark.parametrize("name", NATURAL_OPERATIONS)
@pytest.mark.parametrize("text", ["1" + "0" * 30, "7" * 5_000, "9" * 10_000])
def test_absurd_naturals_are_estimated_not_computed(name: str, text: str) -> None:
    """10^30 and a 5,000-digit n are accepted, shown as strings and estimated as enormous, under a short cache key."""
    operation = OPERATIONS[name]
    args = operation.parse({"n": text})
    assert operation.input(args) == {"n": text}
    assert len(operation.key(args, 50)) < 250
    estimate = operation.estimate(args, 50)
    assert estimate.digits > 10**29
    assert estimate.seconds > 1e6
    assert pickle.loads(pickle.dumps(args)) == args  # noqa: S301
    assert repr(args)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2.50", "2.5"),
        ("-0", 0),
        ("-0.00e5", 0),
        ("+3", 3),
        ("1e3", 1000),
        ("1E+2", 100),
        (".5", "0.5"),
        ("-.25", "-0.25"),
        ("007", 7),
        ("9007199254740991", 9007199254740991),
        ("9007199254740992", "9007199254740992"),
        ("-9007199254740991", -9007199254740991),
        ("-9007199254740992", "-9007199254740992"),
        ("1e15", 10**15),
        ("1e16", "1" + "0" * 16),
        ("1e100", "1" + "0" * 100),
        ("1e101", "1e101"),
        ("12.5e999999", "1.25e1000000"),
        ("-1.5e-999999", "-1.5e-999999"),
        ("0.001", "0.001"),
        ("100e-2", 1),
    ],
)
def test_decimals_are_canonical(text: str, shown: int | str) -> None:
    """Equal numbers are shown alike: safe integers as JSON numbers, all others as decimal strings."""
    operation = OPERATIONS["pow"]
    args = operation.parse({"x": text, "y": "1"})
    assert operation.input(args) == {"x": shown, "y": 1}
    again = operation.parse({"x": str(shown), "y": "1.0"})
    assert again == args
    assert operation.key(again, 50) == operation.key(args, 50) == f"pow:{shown}:1"


def test_only_rounded_results_have_the_precision_in_their_key() -> None:
    """Exact results share one cache key for all precisions; rounded results have a key for each precision."""
    operation = OPERATIONS["pow"]
    exact, rounded = operation.parse({"x": "4", "y": "0.5"}), operation.parse({"x": "2", "y": "0.5"})
    assert operation.key(exact, 50) == operation.key(exact, 60)
    assert operation.key(rounded, 50) != operation.key(rounded, 60)


@pytest.mark.parametrize(
    ("x", "y"), [("0", "-1"), ("0", "-0.5"), ("-8", "0.5"), ("-2", "1.25"), ("-1", "0.1"), ("-1e-3", "-2.5")]
)
def test_powers_without_a_real_value_are_outside_the_domain(x: str, y: str) -> None:
    """Poles and even roots of negative numbers are domain errors, never NaN or a complex number."""
    with pytest.raises(DomainError):
        OPERATIONS["pow"].parse({"x": x, "y": y})


def test_an_exponent_without_bound_needs_a_trivial_base() -> None:
    """The exponent 1e999999999 is refused, except for the bases 0, 1 and -1."""
    operation = OPERATIONS["pow"]
    for beyond in ("1e999999999", "-1e999999999", "1e10000"):
        with pytest.raises(InvalidInput) as caught:
            operation.parse({"x": "2", "y": beyond})
        assert caught.value.problems[0].pointer == "/y"
    assert operation.estimate(operation.parse({"x": "2", "y": "1e9999"}), 50).digits > 10**9998
    for base, expected in (("0", b"0"), ("1", b"1"), ("-1", b"1")):
        args = operation.parse({"x": base, "y": "1e999999999"})
        assert operation.compute(args, 50) == expected
        assert operation.verify(args, 50, expected, 2**61 - 1)
        assert operation.modulo(args, 7) == int(expected)
