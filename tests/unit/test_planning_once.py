"""Planning happens once, blocks the event loop only briefly, and decides where the computation runs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycalc.errors import DomainError, InvalidInput
from pycalc.models.results import Facts
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, ends_of, is_short, make_plan
from pycalc.services.compute.computer import INLINE_SECONDS
from pycalc.services.compute.plan import Plan
from pycalc.services.compute.worker import execute
from tests.harness.mission import THREE
from tests.harness.operands import Case, expensive_cases

LIMIT = 25_000_000
# Operands with at least this many characters are long.
LONG = 101


def naturals() -> st.SearchStrategy[str]:
    """Return long literals of natural numbers: any digits, a repeated digit, leading zeros, or a 1 before zeros."""
    lengths = st.integers(LONG, 2_000)
    runs = st.builds(lambda first, digit, length: first + digit * length, *[st.sampled_from("123789")] * 2, lengths)
    padded = st.builds(lambda length, n: "0" * length + str(n), lengths, st.integers(0, 10**6))
    round_ones = st.builds(lambda length, n: f"1{'0' * length}{n}", lengths, st.integers(0, 9))
    any_digits = st.integers(10 ** (LONG - 1), 10**2_000).map(str)
    return st.one_of(any_digits, runs, padded, round_ones)


def long_requests() -> st.SearchStrategy[tuple[str, tuple[str, ...], Options]]:
    """Return requests with a long operand, modulus or precision for ``fibonacci``, ``factorial`` and ``pow``."""
    short = st.integers(0, 300).map(str)
    options = st.one_of(
        st.just(DEFAULT_OPTIONS),
        st.just(Options(summary=True)),
        st.builds(lambda m: Options(modulus=m), st.one_of(naturals(), short)),
    )
    single = st.tuples(st.sampled_from(["fibonacci", "factorial"]), st.tuples(naturals()), options)
    exponents = st.sampled_from(["0", "1", "-1", "2", "0.5", "1e-200", "3"])
    huge = st.integers(101, 10**18).map(lambda power: f"1e{power}")
    power = st.tuples(
        st.just("pow"),
        st.one_of(st.tuples(naturals(), exponents), st.tuples(huge, exponents), st.tuples(st.just("1"), huge)),
        options,
    )
    precise = st.tuples(
        st.just("pow"), st.tuples(short, exponents), st.integers(LONG, 2_000).map(lambda digits: Options(digits))
    )
    modulus = st.tuples(
        st.sampled_from(["fibonacci", "factorial"]),
        st.tuples(short),
        naturals().map(lambda modulus: Options(modulus=modulus)),
    )
    return st.one_of(single, power, precise, modulus)


@given(long_requests())
@settings(max_examples=300)
def test_what_is_not_short_is_never_computed_on_the_event_loop(request: tuple[str, tuple[str, ...], Options]) -> None:
    """A long request is not computed on the event loop, even if its result is small.

    This holds for values, residues, summaries, and plans that are reduced to the first and last digits.
    """
    assert not is_short(*request)
    try:
        plan = make_plan(LIMIT, *request)
    except (DomainError, InvalidInput):
        return
    assert plan.seconds > INLINE_SECONDS
    assert ends_of(plan).seconds > INLINE_SECONDS


@pytest.mark.parametrize("n", [0, 10, 500, 9_999])
def test_the_residue_of_a_small_factorial_needs_no_worker_to_plan_it(n: int) -> None:
    """The residue of n! is planned on the event loop for n < 10,000, and in a worker for larger n.

    For larger n, planning may take 0.1 s, which would block the event loop.
    """
    assert is_short("factorial", (str(n),), Options(modulus="1000000007"))
    assert not is_short("factorial", ("10000",), Options(modulus="1000000007"))


def plannable() -> list[tuple[Case, Plan]]:
    """Return the expensive cases that can be planned and are estimated to take less than 0.1 s, with their plans."""
    plans = []
    for case in expensive_cases():
        try:
            plan = make_plan(LIMIT, case.operation, case.literals, case.options)
        except InvalidInput:
            continue
        if plan.seconds < 0.1:
            plans.append((case, plan))
    return plans


def refuse(*_: object) -> None:
    """Fail if this function, which replaces another one, is called."""
    raise AssertionError("this was planned a second time")


def test_what_was_planned_is_not_planned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker computes a plan without parsing, estimating, or searching for factors or roots again."""
    plans = plannable()
    for operation in THREE.values():
        for method in ("parse", "estimate", "plan_modulo", "summary_seconds", "key"):
            monkeypatch.setattr(type(operation), method, refuse)
    monkeypatch.setattr("pycalc.services.operations.power.operation.exact_power", refuse)
    monkeypatch.setattr("pycalc.services.operations.power.operation.exact_text", refuse)
    monkeypatch.setattr("pycalc.services.operations.factorial.operation.plan_factorial", refuse)
    for _, plan in plans:
        assert isinstance(execute(plan.task)[1], Facts)


@pytest.mark.parametrize("operation", THREE)
def test_the_expensive_cases_are_of_all_kinds(operation: str) -> None:
    """The tests' list of expensive cases contains a value, a residue and a summary of each operation."""
    options = [case.options for case in expensive_cases() if case.operation == operation]
    kinds = {(given.modulus is not None, given.summary) for given in options}
    assert kinds == {(False, False), (True, False), (False, True)}
