"""Number literals: which are accepted, and how others are refused."""

from __future__ import annotations

import pickle

import pytest

from pycalc.errors import DomainError, InvalidInput
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.numbers.gmp import gmp
from tests.harness.mission import THREE

NATURAL_OPERATIONS = ("fibonacci", "factorial")
NOT_NATURAL = (
    "-1",
    "abc",
    "1.5",
    "",
    "NaN",
    "inf",
    "+5",
    "1__0",
    "_1",
    "1_",
    "0x",
    "0xG",
    "0b2",
    "0x_1",
    "1e-3",
    "1.5e1",
    "1e10000",
    "1e999999999999",
    " 7",
    "7 ",
    "7\n",
    "٣",
    "²",
    "1e²",
    "-",
    "--1",
)
NOT_RATIONAL = (
    "",
    "abc",
    "NaN",
    "inf",
    "-inf",
    "0x",
    "0b2",
    "0x_1",
    "0x1.8",
    "1__0",
    "_1",
    "1_",
    "1_.5",
    "1.",
    ".",
    "1e",
    "e5",
    "1.5.2",
    "+-1",
    "1 ",
    "\n2",
    "٣",
    "1/0",
    "0/0",
    "1/",
    "/2",
    "1/-2",
    "1/+2",
    "1.5/2",
    "1/2/3",
    "1e2/3",
    "0x1/2",
    "1 /2",
)


@pytest.mark.parametrize("name", NATURAL_OPERATIONS)
@pytest.mark.parametrize("text", [*NOT_NATURAL, "1" * 10_001])
def test_a_wrong_natural_number_is_refused_with_a_pointer(name: str, text: str) -> None:
    """A text that is not a natural number, or is too large, is a validation error that points to /n."""
    with pytest.raises(InvalidInput) as caught:
        THREE[name].parse({"n": text})
    assert [problem.pointer for problem in caught.value.problems] == ["/n"]
    assert caught.value.detail.startswith("n ")


def test_a_negative_natural_number_is_refused_with_the_range() -> None:
    """A negative number and a text without digits are refused with the same message, which states form and range."""
    for text in ("-1", "one"):
        with pytest.raises(InvalidInput, match=r"^n must be a whole number of 0 or more, such as 12, 1e6 or 0xFF\.$"):
            THREE["fibonacci"].parse({"n": text})


@pytest.mark.parametrize(("raw", "missing"), [({}, ["/x", "/y"]), ({"y": "2"}, ["/x"]), ({"x": "2"}, ["/y"])])
def test_a_missing_operand_is_refused(raw: dict[str, str], missing: list[str]) -> None:
    """If operands are missing, the validation error has a pointer to each of them."""
    with pytest.raises(InvalidInput) as caught:
        THREE["pow"].parse(raw)
    assert [problem.pointer for problem in caught.value.problems] == missing


@pytest.mark.parametrize("text", [*NOT_RATIONAL, "1" * 1_000_001, "1e1000000000000000001", "1e-" + "9" * 5_000])
def test_a_wrong_number_is_refused_with_a_pointer(text: str) -> None:
    """A text that is not a decimal, integer or fraction, or is too large, is an error that points to its operand."""
    for raw, pointer in (({"x": text, "y": "1"}, "/x"), ({"x": "1", "y": text}, "/y")):
        with pytest.raises(InvalidInput) as caught:
            THREE["pow"].parse(raw)
        assert [problem.pointer for problem in caught.value.problems] == [pointer]


def test_an_exponent_and_a_base_without_mod_have_10_000_digits() -> None:
    """An exponent has at most 10,000 digits, and so has a base without ``mod``.

    Parsing refuses a longer exponent. It accepts a longer base, which the estimate refuses.
    """
    power, text = THREE["pow"], "7" * 10_001
    with pytest.raises(InvalidInput) as caught:
        power.parse({"x": "1", "y": text})
    assert [problem.pointer for problem in caught.value.problems] == ["/y"]
    power.estimate(power.parse({"x": text[1:], "y": "1"}), 50)
    with pytest.raises(InvalidInput) as caught:
        power.estimate(power.parse({"x": text, "y": "1"}), 50)
    assert [problem.pointer for problem in caught.value.problems] == ["/x"]


@pytest.mark.parametrize("name", NATURAL_OPERATIONS)
def test_naturals_are_canonical(name: str) -> None:
    """Leading zeros change neither the input that is shown nor the cache key."""
    operation = THREE[name]
    args = operation.parse({"n": "00042"})
    assert operation.input(args) == {"n": 42}
    assert operation.key(args, 50) == operation.key(operation.parse({"n": "42"}), 7) == f"{name}:42"


@pytest.mark.parametrize("name", [*NATURAL_OPERATIONS, "gcd"])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 10**6),
        ("12E+3", 12_000),
        ("1_000_000", 10**6),
        ("0xFF", 255),
        ("0XdEad_bEEf", 3_735_928_559),
        ("0b1010_1010", 170),
        ("0x1e3", 483),
        ("0e5", 0),
        ("1e999", 10**999),
    ],
)
def test_forms_of_whole_numbers_are_one_number(name: str, text: str, value: int) -> None:
    """Hexadecimal, binary, grouped and exponent forms of a number have the same cache key as its plain form."""
    operation = OPERATIONS[name]
    others = {parameter.name: "1" for parameter in operation.parameters[1:]}
    first = operation.parameters[0].name
    keys = {operation.key(operation.parse({first: each, **others}), 50) for each in (text, str(gmp.mpz(value)))}
    assert len(keys) == 1


@pytest.mark.parametrize("text", ["1__0", "_1", "1_", "1_e6", "0x", "0x_f", "0xf_", "0b2", "0b1__1", "1e_6", "1e6_0"])
def test_groups_of_digits_have_digits_on_both_sides(text: str) -> None:
    """An underscore is accepted only between two digits."""
    with pytest.raises(InvalidInput):
        OPERATIONS["gcd"].parse({"a": text, "b": "1"})


@pytest.mark.parametrize("name", NATURAL_OPERATIONS)
@pytest.mark.parametrize("text", ["1" + "0" * 30, "7" * 5_000, "9" * 10_000])
def test_absurd_naturals_are_estimated_not_computed(name: str, text: str) -> None:
    """An n from 10^30 up to 10,000 digits is accepted; its estimate is enormous, and its cache key is short."""
    operation = THREE[name]
    args = operation.parse({"n": text})
    assert operation.input(args) == {"n": text}
    assert len(operation.key(args, 50)) < 250
    estimate = operation.estimate(args, 50)
    assert estimate.digits > 10**29
    assert estimate.seconds > 1e6
    assert pickle.loads(pickle.dumps(args)) == args  # noqa: S301


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
        ("0xFF", 255),
        ("-0b101", -5),
        ("1_000.000_5", "1000.0005"),
        ("1/2", "0.5"),
        ("-6/4", "-1.5"),
        ("+4/6", "2/3"),
        ("-10/3", "-10/3"),
        ("1/30", "1/30"),
        ("600/9", "200/3"),
        ("3/160", "0.01875"),
        ("0/7", 0),
        ("21/7", 3),
        ("1_000/3", "1000/3"),
        (f"1/{3**200}", f"1/{3**200}"),
    ],
)
def test_numbers_are_canonical(text: str, shown: int | str) -> None:
    """Equal numbers are shown the same way: integers within ±(2^53 - 1) as JSON numbers, all others as strings."""
    operation = THREE["pow"]
    args = operation.parse({"x": text, "y": "1"})
    assert operation.input(args) == {"x": shown, "y": 1}
    again = operation.parse({"x": str(shown), "y": "1.0"})
    assert again == args
    assert operation.key(again, 50) == operation.key(args, 50) == f"pow:{shown}:1"


def test_only_rounded_results_have_the_precision_in_their_key() -> None:
    """An exact result has the same cache key at every precision; a rounded result has another key for each."""
    operation = THREE["pow"]
    exact, rounded = operation.parse({"x": "4", "y": "0.5"}), operation.parse({"x": "2", "y": "0.5"})
    assert operation.key(exact, 50) == operation.key(exact, 60)
    assert operation.key(rounded, 50) != operation.key(rounded, 60)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("0", "-1"),
        ("0", "-0.5"),
        ("-8", "0.5"),
        ("-2", "1.25"),
        ("-1", "0.1"),
        ("-1e-3", "-2.5"),
        ("-4", "1/2"),
        ("-1/3", "5/6"),
    ],
)
def test_powers_without_a_real_value_are_outside_the_domain(x: str, y: str) -> None:
    """Powers without a real value are DomainErrors: poles, and even roots of negative numbers."""
    with pytest.raises(DomainError):
        THREE["pow"].parse({"x": x, "y": y})


@pytest.mark.parametrize(
    ("largest", "above"),
    [
        ("9" * 10_000, "1e10000"),
        (hex(10**10_000 - 1), hex(10**10_000)),
        (hex(10**10_000 - 1).replace("0x", "-0x"), hex(10**10_000).replace("0x", "-0x")),
    ],
    ids=["decimal", "hexadecimal", "negative"],
)
def test_an_exponent_has_one_bound_in_every_notation(largest: str, above: str) -> None:
    """An exponent of magnitude 10^10000 - 1 is accepted in each notation, and one of 10^10000 is refused."""
    operation = THREE["pow"]
    power = operation.parse({"x": "2", "y": largest})
    # The totient of 97 is 96, and 10^10000 - 1 modulo 96 is 63.
    assert operation.modulo(power, 97) == pow(2, -63 if largest.startswith("-") else 63, 97)
    with pytest.raises(InvalidInput) as refused:
        operation.parse({"x": "2", "y": above})
    assert refused.value.detail == "y must be above -10^10000 and below 10^10000, unless x is 0, 1 or -1."


def test_an_exponent_without_bound_needs_a_trivial_base() -> None:
    """An exponent of magnitude 10^10000 or more is refused, unless the base is 0, 1 or -1."""
    operation = THREE["pow"]
    for beyond in ("1e999999999", "-1e999999999", "0x" + "f" * 9_998):
        with pytest.raises(InvalidInput) as caught:
            operation.parse({"x": "2", "y": beyond})
        assert caught.value.problems[0].pointer == "/y"
    assert operation.estimate(operation.parse({"x": "2", "y": "1e9999"}), 50).digits > 10**9998
    for base, expected in (("0", b"0"), ("1", b"1"), ("-1", b"1")):
        args = operation.parse({"x": base, "y": "1e999999999"})
        assert operation.compute(args, 50) == expected
        assert operation.verify(args, 50, expected, 2**61 - 1)
        assert operation.modulo(args, 7) == int(expected)
