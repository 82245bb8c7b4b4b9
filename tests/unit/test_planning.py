"""Plans of calculations (parsed operands and estimated costs): where they are made, and what they contain.

A request for a summary (``view=summary``) asks for a result's number of digits and its first and last digits only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from pycalc.errors import InvalidInput, ResultTooLarge
from pycalc.models.json_text import pointer_step
from pycalc.services.calculations.planning import (
    DEFAULT_OPTIONS,
    HANDOVER_SECONDS,
    Options,
    ends_of,
    is_short,
    make_plan,
    options_of,
    recorded_key,
    require_size,
)
from pycalc.services.compute.computer import INLINE_SECONDS
from pycalc.services.compute.plan import BASE_MEMORY, Plan
from pycalc.services.compute.worker import execute
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.numbers.literals import size_of
from tests.harness.mission import THREE

LIMIT = 25_000_000


@pytest.mark.parametrize(
    ("name", "literals", "options"),
    [
        ("factorial", ("9" * 101,), DEFAULT_OPTIONS),
        ("pow", ("2", "1e9999"), DEFAULT_OPTIONS),
        ("pow", ("2", "1E+99999999999"), DEFAULT_OPTIONS),
        ("pow", ("10", "1e-400"), DEFAULT_OPTIONS),
        ("pow", ("2", "0.5"), Options(precision=10_000)),
        ("fibonacci", ("7",), Options(modulus="9" * 100)),
        ("factorial", ("1000000000000",), Options(modulus="1000000000000001")),
    ],
)
def test_what_takes_long_is_not_planned_on_the_event_loop(
    name: str, literals: tuple[str, ...], options: Options
) -> None:
    """Calculations with long literals, large exponents or high precisions are planned in a worker.

    So are residues of large factorials. Planning any of these could block the event loop.
    """
    assert not is_short(name, literals, options)


@pytest.mark.parametrize(
    ("name", "literals", "options"),
    [
        ("fibonacci", ("1000000000000000000",), DEFAULT_OPTIONS),
        ("pow", ("2.5", "-3e2"), DEFAULT_OPTIONS),
        ("fibonacci", ("1000000000000000000",), Options(modulus="1000000007")),
        ("factorial", ("1000000000000000000",), Options(summary=True)),
    ],
)
def test_small_operands_are_planned_on_the_event_loop(name: str, literals: tuple[str, ...], options: Options) -> None:
    """Everyday operands are planned on the event loop."""
    assert is_short(name, literals, options)


def test_a_rounded_summary_is_planned_like_its_value() -> None:
    """A summary of a rounded result is estimated to take as long as the result. Its input includes the precision."""
    value = make_plan(LIMIT, "pow", ("2", "0.5"), Options(precision=5_000))
    summary = make_plan(LIMIT, "pow", ("2", "0.5"), Options(precision=5_000, summary=True))
    assert summary.seconds == value.seconds == ends_of(value).seconds > INLINE_SECONDS
    assert (value.digits, ends_of(value).digits) == (5_000, 0)
    assert summary.input == '{"x":2,"y":"0.5","precision":5000,"view":"summary"}'


@pytest.mark.parametrize(
    ("precision", "digits", "refused"), [(993, 999, False), (994, 1_000, False), (995, 1_001, True)]
)
def test_the_zeros_before_a_rounded_value_count(precision: int, digits: int, refused: bool) -> None:
    """10^-5.4, which begins with six zeros, is refused if these and the significant digits are more than the limit."""
    plan = make_plan(1_000, "pow", ("1e-12", "0.45"), Options(precision=precision))
    facts = execute(plan.task)[1]
    assert facts.digits == str(digits)
    if refused:
        with pytest.raises(ResultTooLarge) as caught:
            require_size(plan, facts, 1_000)
        assert (caught.value.digits, caught.value.limit) == (digits, 1_000)
    else:
        require_size(plan, facts, 1_000)


def fields(**given: str) -> list[str]:
    """Return the JSON pointers of the errors with which these options of ``pow`` are refused."""
    with pytest.raises(InvalidInput) as refused:
        options_of(THREE["pow"], given)
    return [problem.pointer for problem in refused.value.problems]


@pytest.mark.parametrize("precision", ["1", "50", "9999", "10000", "00001"])
def test_a_precision_is_a_whole_number_up_to_10000(precision: str) -> None:
    """A precision from 1 to 10000 is accepted."""
    assert options_of(THREE["pow"], {"precision": precision}) == Options(precision=int(precision))


@pytest.mark.parametrize("precision", ["", "0", "10001", "000001", "-1", "+1", "1.0", "1e3", " 1", "\u0661", "five"])
def test_no_other_precision_is_taken(precision: str) -> None:
    """A precision is refused if it is out of range, longer than five characters or not written in ASCII digits."""
    assert fields(precision=precision) == ["/precision"]


def test_the_options_of_a_request() -> None:
    """The defaults are 50 digits, no modulus and the full view. Invalid or unknown options are refused.

    A summary excludes a modulus.
    """
    power = THREE["pow"]
    assert options_of(power, {}) == Options(50, None, False) == DEFAULT_OPTIONS
    assert options_of(power, {"view": "full", "mod": "7"}) == Options(50, "7", False)
    assert options_of(power, {"view": "summary", "precision": "60"}) == Options(60, None, True)
    assert (fields(view="half"), fields(view="summary", mod="7"), fields(mode="7")) == (["/view"], ["/view"], ["/mode"])


@pytest.mark.parametrize("name", ["fibonacci", "factorial"])
def test_integers_take_no_precision(name: str) -> None:
    """Operations on integers accept a modulus, but refuse a precision, because they never round."""
    assert options_of(THREE[name], {"mod": "7"}) == Options(modulus="7")
    with pytest.raises(InvalidInput):
        options_of(THREE[name], {"precision": "50"})


@pytest.mark.parametrize(
    ("name", "literals", "options"),
    [
        ("fibonacci", ("1" * 100,), DEFAULT_OPTIONS),
        ("pow", ("1" * 50, "1" * 50), DEFAULT_OPTIONS),
        ("fibonacci", ("1" * 60,), Options(modulus="1" * 40)),
        ("pow", ("1e95", "2"), DEFAULT_OPTIONS),
        ("pow", ("2", "0.5"), Options(precision=100)),
    ],
)
def test_100_digits_together_are_short(name: str, literals: tuple[str, ...], options: Options) -> None:
    """Operands and modulus of up to 100 digits in total, and a precision up to 100, are planned on the event loop.

    An exponent counts as the zeros that it adds.
    """
    assert is_short(name, literals, options)
    longer = options._replace(precision=101) if options.precision == 100 else options
    more = literals if longer != options else (*literals[:-1], literals[-1] + "0")
    assert not is_short(name, more, longer)


def test_an_exponent_of_more_than_five_digits_counts_for_much() -> None:
    """The size of a literal is its length plus its exponent without the sign.

    An exponent of more than five digits counts as 20,000, so that its literal never counts as short.
    """
    assert [size_of(literal) for literal in ("7", "1e5", "1E+5", "1e-99999", "1e100000", "1e", "e")] == [
        *(1, 8, 9, 100_007, 20_008),
        *(2, 1),
    ]


@pytest.mark.parametrize("modulus", ["0", "00"])
def test_a_modulus_of_nought_is_refused(modulus: str) -> None:
    """A modulus of zero is refused."""
    with pytest.raises(InvalidInput) as refused:
        make_plan(LIMIT, "fibonacci", ("7",), Options(modulus=modulus))
    assert [problem.pointer for problem in refused.value.problems] == ["/mod"]
    assert make_plan(LIMIT, "fibonacci", ("7",), Options(modulus="1")).input == '{"n":7,"mod":1}'


@pytest.mark.parametrize(("length", "hashed"), [(200, False), (201, True)])
def test_a_long_modulus_is_named_by_its_digest(length: int, hashed: bool) -> None:
    """In a cache key, a digest replaces a modulus of more than 200 digits, so that the key stays short."""
    modulus = "7" * length
    key = make_plan(LIMIT, "fibonacci", ("7",), Options(modulus=modulus)).key
    assert key.endswith(f"?mod={sha256(modulus.encode()).hexdigest() if hashed else modulus}")


def test_a_long_residue_takes_three_times_as_long() -> None:
    """The estimate triples for residues of over 1,000 digits, which a second, larger computation verifies."""
    plans = [make_plan(LIMIT, "fibonacci", ("7",), Options(modulus="9" * length)) for length in (1_000, 1_001)]
    operation = THREE["fibonacci"]
    args = operation.parse({"n": "7"})
    alone = [operation.plan_modulo(args, plan.task.modulus).seconds for plan in plans]
    times = [(plan.seconds - HANDOVER_SECONDS) / seconds for plan, seconds in zip(plans, alone, strict=True)]
    assert times == pytest.approx([1, 3])
    assert [(plan.digits, plan.summary_seconds == plan.seconds) for plan in plans] == [(1_000, True), (1_001, True)]


def test_an_operand_of_1000_characters_is_recorded_in_full() -> None:
    """The history abbreviates an operand above 1,000 characters to its ends, length and digest; the answer does not."""
    for length in (1_000, 1_001):
        operand = "7" * (length - 20) + "12345678901234567891"
        plan = make_plan(LIMIT, "pow", (operand, "1"), DEFAULT_OPTIONS)
        assert json.loads(plan.input) == {"x": operand, "y": 1}
        digest = sha256(operand.encode()).hexdigest()
        short = f"{'7' * 20}...12345678901234567891 (1001 characters, SHA-256 {digest})"
        assert json.loads(plan.recorded_input) == {"x": operand if length == 1_000 else short, "y": 1}


def test_a_long_operand_is_shown_by_its_ends() -> None:
    """An answer abbreviates an operand above 20,000 characters as the history does."""
    for length in (20_000, 20_001):
        operand = "7" * length
        plan = make_plan(LIMIT, "gcd", (operand, "6"), DEFAULT_OPTIONS)
        digest = sha256(operand.encode()).hexdigest()
        short = f"{'7' * 20}...{'7' * 20} ({length} characters, SHA-256 {digest})"
        assert json.loads(plan.recorded_input) == {"a": short, "b": 6}
        assert json.loads(plan.input) == {"a": operand if length == 20_000 else short, "b": 6}


@pytest.mark.parametrize(
    ("name", "literals", "options"),
    [
        ("gcd", ("7" * 1_001, "6"), DEFAULT_OPTIONS),
        ("pow", ("7" * 1_001, "0.5"), Options(precision=60)),
        ("pow", ("7" * 1_001, "2"), Options(modulus="9" * 1_001)),
        ("pow", ("7" * 1_001, "2"), Options(base=7)),
    ],
)
def test_the_key_of_a_long_operand_is_that_of_the_recorded_input(
    name: str, literals: tuple[str, ...], options: Options
) -> None:
    """The cache key can be computed from the recorded, abbreviated input, and depends on every operand and option."""
    plan = make_plan(LIMIT, name, literals, options)
    assert plan.key == recorded_key(name, plan.recorded_input)
    others = [
        make_plan(LIMIT, name, (literals[0] + "1", literals[1]), options),
        make_plan(LIMIT, name, (literals[0], literals[1] + "5"), options),
    ]
    if options != DEFAULT_OPTIONS:
        others.append(make_plan(LIMIT, name, literals, DEFAULT_OPTIONS))
    assert plan.key not in {other.key for other in others}


def test_a_summary_takes_operands_of_1000_characters_together() -> None:
    """Operands of more than 1,000 characters in total have no summary, because it would take as long as the value."""
    summary = Options(summary=True)
    make_plan(LIMIT, "pow", ("7" * 999, "2"), summary)
    with pytest.raises(InvalidInput):
        make_plan(LIMIT, "pow", ("7" * 1_000, "2"), summary)


def test_what_is_too_large_is_planned_as_its_size_and_ends() -> None:
    """A result with the most digits allowed is planned in full; for a longer one, a summary is planned."""
    plan = make_plan(21, "fibonacci", ("100",), DEFAULT_OPTIONS)  # F(100) has 21 digits
    assert (plan.digits, plan.too_large, plan.task.view) == (21, False, "value")
    plan = make_plan(20, "fibonacci", ("100",), DEFAULT_OPTIONS)
    assert (plan.digits, plan.too_large, plan.task.view) == (0, True, "summary")


@pytest.mark.parametrize(
    "plan",
    [
        make_plan(LIMIT, "binomial", ("1" + "0" * 98, "50"), Options(summary=True)),
        make_plan(20, "binomial", ("1" + "0" * 98, "50"), DEFAULT_OPTIONS),
    ],
    ids=["summary", "too large"],
)
def test_the_ends_of_a_summary_cost_as_much_as_the_summary(plan: Plan) -> None:
    """Of a summary, or of a result that is too large, ``ends_of`` makes a plan with the same time estimate."""
    assert ends_of(plan).seconds == plan.seconds > 0


def test_the_name_of_a_member_in_a_pointer() -> None:
    """A name in a JSON pointer is escaped as in RFC 6901, section 3; a lone surrogate becomes U+FFFD."""
    assert [pointer_step(name) for name in ("a/b", "m~n", "~1", "\ud800")] == ["/a~1b", "/m~0n", "/~01", "/\ufffd"]


@pytest.mark.parametrize("options", [DEFAULT_OPTIONS, Options(base=2)])
@pytest.mark.parametrize(("name", "operands"), [("binomial", ("100000", "50000")), ("fibonacci", ("1000000",))])
def test_a_plan_allows_the_memory_of_its_result(name: str, operands: tuple[str, ...], options: Options) -> None:
    """A plan allows at least 4.3 bytes of memory for each digit of the result, in addition to the base memory."""
    plan = make_plan(LIMIT, name, operands, options)
    assert plan.digits > 30_000
    assert plan.memory - BASE_MEMORY >= 4.3 * plan.digits


def test_planning_an_expression_computes_no_expensive_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning an expression computes a cheap part such as ``gcd``, but no search for a large prime."""
    computed: list[str] = []
    for name in ("gcd", "nextprime"):
        compute = OPERATIONS[name].compute

        def noted(args: Any, precision: int, name: str = name, compute: Callable[..., bytes] = compute) -> bytes:
            computed.append(name)
            return compute(args, precision)

        monkeypatch.setattr(OPERATIONS[name], "compute", noted)
    make_plan(LIMIT, "evaluate", ("gcd(12, 18) + 1",), DEFAULT_OPTIONS)
    make_plan(LIMIT, "evaluate", ("nextprime(10^300) + 1",), DEFAULT_OPTIONS)
    assert set(computed) == {"gcd"}


def test_a_result_with_as_many_digits_as_allowed_is_returned() -> None:
    """A result with exactly the maximum of digits is planned in full; with one digit more it is too large."""
    assert not make_plan(1_000, "pow", ("10", "999"), DEFAULT_OPTIONS).too_large
    assert make_plan(999, "pow", ("10", "999"), DEFAULT_OPTIONS).too_large
    digits = make_plan(LIMIT, "lcm", ("10000000019", "998244353"), DEFAULT_OPTIONS).digits
    assert make_plan(digits, "lcm", ("10000000019", "998244353"), DEFAULT_OPTIONS).digits == digits
    with pytest.raises(ResultTooLarge):
        make_plan(digits - 1, "lcm", ("10000000019", "998244353"), DEFAULT_OPTIONS)


def test_another_base_takes_longer() -> None:
    """Writing a million digits in another base adds over a tenth of a second to the estimate."""
    decimal, other = (make_plan(LIMIT, "fibonacci", ("4784972",), Options(base=base)).seconds for base in (10, 7))
    assert other > decimal + 0.1


def test_an_expression_s_precision_is_recorded_even_where_its_value_is_exact() -> None:
    """The precision of an expression is recorded even if its value is exact, because its parts may need it."""
    plan = make_plan(LIMIT, "evaluate", ("floor(2^0.5*100)",), Options(50))
    assert json.loads(plan.recorded_input) == {"expression": "floor(2^0.5 * 100)", "precision": 50}


def test_a_prime_that_flint_proves_is_not_looked_for_on_the_event_loop() -> None:
    """A prime above 3.3 * 10^24 is not sought on the event loop, because loading FLINT takes too long there.

    Up to this bound (Sorenson and Webster), strong tests prove a prime; above it, FLINT does.
    """
    plan = make_plan(LIMIT, "nextprime", ("3317044064679887385961980",), DEFAULT_OPTIONS)
    assert plan.seconds > INLINE_SECONDS


def test_base_10_is_the_default_of_a_summary_too() -> None:
    """``base=10`` is accepted for a summary, which has no base, because generated clients send defaults."""
    power = OPERATIONS["pow"]
    assert options_of(power, {"view": "summary", "base": "10"}) == options_of(power, {"view": "summary"})
    with pytest.raises(InvalidInput, match="decimal digits"):
        options_of(power, {"view": "summary", "base": "16"})


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        ("base", ["2", "36", "00016"], ["1", "37", "000016", "", "-2", "+2", "2.0", "\u0662"]),
        ("precision", ["1", "10000"], ["0", "10001", "000001"]),
    ],
)
def test_a_base_is_2_to_36_and_a_precision_1_to_10000(name: str, accepted: list[str], refused: list[str]) -> None:
    """A base or a precision has at most five ASCII digits; another text is refused with a pointer to the option."""
    power = OPERATIONS["pow"]
    assert [getattr(options_of(power, {name: text}), name) for text in accepted] == list(map(int, accepted))
    for text in refused:
        with pytest.raises(InvalidInput) as caught:
            options_of(power, {name: text})
        assert [problem.pointer for problem in caught.value.problems] == [f"/{name}"]
