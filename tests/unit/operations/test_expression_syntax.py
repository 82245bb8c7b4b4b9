"""The grammar of expressions: precedence, literals, canonical forms, and errors with their position."""

from __future__ import annotations

import pickle

import pytest

from pycalc.errors import InvalidInput
from pycalc.services.operations import CALCULATIONS

EVALUATE = CALCULATIONS["evaluate"]


def canonical(text: str) -> str:
    """Return the canonical form of an expression."""
    return str(EVALUATE.input(EVALUATE.parse({"expression": text}))["expression"])


def value(text: str) -> str:
    """Return the text of an expression's exact value."""
    args = EVALUATE.parse({"expression": text})
    return EVALUATE.result(args, 0, exact=True).text.decode()


def refusal(text: str) -> tuple[int | None, str]:
    """Parse an invalid expression, and return the position and the message of the error."""
    with pytest.raises(InvalidInput) as refused:
        EVALUATE.parse({"expression": text})
    (problem,) = refused.value.problems
    assert problem.pointer == "/expression"
    return problem.position, problem.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2^2", "-4"),
        ("(-2)^2", "4"),
        ("2^3^2", "512"),
        ("2^-1", "0.5"),
        ("2**10", "1024"),
        ("2^3!", "64"),
        ("-3!", "-6"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("2 - 3 - 4", "-5"),
        ("100 / 10 / 5", "2"),
        ("7 // 2 * 2", "6"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2 * 7 % 3", "2"),
        ("-7 mod 3", "2"),
        ("2 * 5 mod 7", "3"),
        ("--2", "2"),
        ("2--3", "5"),
        ("5! == 120", "true"),
        ("5!==120", "true"),
        ("1 + 1 <= 2", "true"),
        ("0x_ff", None),
        ("0xFF + 0b11", "258"),
        ("1_000.5", "1000.5"),
        (".5e1", "5"),
        ("1e6 / 1E5", "10"),
        ("007", "7"),
    ],
)
def test_precedence_and_literals(text: str, expected: str | None) -> None:
    """An expression has the value that the usual precedence gives; None means that the expression is refused."""
    if expected is None:
        refusal(text)
    else:
        assert value(text) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("3^(10^12) mod 10^20", " 3 ** 10**12  mod 10 ^20"), "3^(10^12) mod 10^20"),
        (("(1 * 2) * 3", "1*2*3", "((1*2))*(3)"), "1 * 2 * 3"),
        (("1 - (2 - 3)", "1-(2-3)"), "1 - (2 - 3)"),
        (("7 // 2 * 3 % 4 * 5", "(((7 // 2) * 3) % 4) * 5", "(7//2*3%4)*5"), "7 // 2 * 3 % 4 * 5"),
        (("7 // (2 * 3) * 4", "(7//(2*3))*4"), "7 // (2 * 3) * 4"),
        (("factorial(5)", "5!", "(5)!"), "5!"),
        (("pow(2, 10)", "2^10", "2**10"), "2^10"),
        (("0x10 + 1_6 + 1.6e1 + 16.0",), "16 + 16 + 16 + 16"),
        (("-(2^2)", "-2^2"), "-2^2"),
        (("sum(i,1,9,i^2)",), "sum(i, 1, 9, i^2)"),
        (("(2 + 3)mod 4",), "(2 + 3) mod 4"),
        (("2^(3!)", "2^3!"), "2^(3!)"),
        (("+5", "5", "(5)"), "5"),
        (("max( 1 ,2,  3)",), "max(1, 2, 3)"),
    ],
)
def test_the_canonical_form_is_the_same_for_one_tree(texts: tuple[str, ...], expected: str) -> None:
    """Spaces, needless parentheses and notation do not change the canonical form; parsing that form reproduces it."""
    assert {canonical(text) for text in texts} == {expected}
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "empty"),
        ("  ", 2, "empty"),
        ("1 +", 3, "a number is missing"),
        ("(1 + 2", 6, "a ) is missing"),
        ("1 + 2)", 5, "closes no parenthesis"),
        (")", 0, "A number is missing before )"),
        ("2 3", 2, "write * for a product"),
        ("2(3)", 1, "write * for a product"),
        ("(2)(3)", 3, "write * for a product"),
        ("1,000,000 + 1", 0, "write 1000000 or 1_000_000"),
        ("2 + 1,000", 4, "write 1000 or 1_000"),
        ("gcd0(1)", 0, "no function or variable gcd0"),
        ("max(1,000)", 4, "write 1000 or 1_000"),
        ("1 000", 0, "write 1000 or 1_000"),
        ("1'000", 0, "write 1000 or 1_000"),
        ("2,5", 1, "2.5 for a decimal"),
        ("5 \u2212 3", 2, "write - for it"),
        ("5 \u00d7 3", 2, "write * for it"),
        ("6 \u00f7 3", 2, "write / for it"),
        ("2\u00b2", 1, "write ^2"),
        ("2\u207b\u00b9\u2070", 1, "write ^-10"),
        ("1 = 1", 2, "write == for it"),
        ("1 \u2264 2", 2, "write <= for it"),
        ("1 & 2", 2, "The character & has no meaning"),
        ("1 \x00 2", 2, "U+0000"),
        ("1.2.3", 3, "The character . has no meaning"),
        ("3!!", 2, "(n!)!"),
        ("1 < 2 < 3", 6, "one comparison"),
        ("(1 < 2)", 3, "must be the whole expression"),
        ("1 + 2 mod 3", 6, "(a + b) mod m, or a + (b mod m)"),
        ("5 mod 3 * 2", 8, "(a mod m) * b, or a mod (m * b)"),
        ("5 mod 3 mod 2", 8, "parentheses"),
        ("x + 1", 0, "no function or variable x"),
        ("sum(i, 1, 3, j)", 13, "no function or variable j"),
        ("sum(1, 2, 3, 4)", 4, "the name of its variable"),
        ("sum(max, 2, 3, 4)", 4, "the name of its variable"),
        ("i + sum(i, 1, 2, i)", 0, "no function or variable i"),
        ("fibonacci", 9, "its arguments in parentheses"),
        ("fibonacci()", 0, "takes 1 argument"),
        ("fibonacci(1, 2)", 0, "takes 1 argument"),
        ("max()", 0, "takes at least 1 argument"),
        ("1 + isprime(7)", 4, "The value of isprime is no number to compute with: write isprime(...) alone."),
        ("isprime(7) == isprime(11)", 0, "write isprime(...) alone"),
        ("isprime(factorize(6))", 8, "write factorize(...) alone"),
        ("-isprime(7)", 1, "write isprime(...) alone"),
        ("factorize(6) mod 5", 0, "write factorize(...) alone"),
        ("1e1000000000000000000000", 0, "within \u00b110^18"),
        ("(" * 101 + "1" + ")" * 101, 101, "at most 100 parentheses and exponents"),
        ("2^" * 101 + "1", 202, "at most 100 parentheses and exponents"),
        ("1/(1+" * 75 + "1" + ")" * 75, 373, "150 operations, within each other"),
        ("1" * 10_001, 10_000, "at most 10,000 characters"),
    ],
)
def test_a_refusal_points_at_its_place(text: str, position: int, words: str) -> None:
    """A syntax error has the position of the faulty part, counted from 0, and a message that explains the fault."""
    found, sentence = refusal(text)
    assert words in sentence
    assert found == position


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100 + "1" + ")" * 100,
        "1^" * 99 + "1",
        "abs(" * 99 + "1" + ")" * 99,
        "-abs(1+2*" * 37 + "1" + ")" * 37,
        "1/(1+" * 74 + "2" + ")" * 74,
        "sum(i,1,1,1+2*" * 49 + "1" + ")" * 49,
        "+".join("1" * 5_000),
        "-" * 9_999 + "1",
    ],
)
def test_what_is_within_the_bounds_has_a_value(text: str) -> None:
    """Expressions at the limits of depth and length can be pickled, as for a worker process, and are computed."""
    args = EVALUATE.parse({"expression": text})
    assert pickle.dumps(args)
    estimate = EVALUATE.estimate(args, 0)
    assert EVALUATE.result(args, 0, exact=estimate.exact).exact


def test_a_comma_between_arguments_is_no_thousands_separator() -> None:
    """``max(1,200)`` has two arguments."""
    assert value("max(1,200)") == "200"


@pytest.mark.parametrize(
    "text",
    [
        "1^" * 60 + "1",
        "1^" * 99 + "1",
        "pow(1, " * 99 + "1" + ")" * 99,
        "2*-(" * 70 + "1" + ")" * 70,
        "+".join("1" * 5_000),
    ],
)
def test_an_expression_is_recorded_as_a_text_that_can_be_parsed(text: str) -> None:
    """If the canonical form exceeds the limits of depth or length, the recorded text is the one that was sent."""
    args = EVALUATE.parse({"expression": text})
    assert EVALUATE.parse({"expression": canonical(text)}) == args
    assert canonical(text) == text
