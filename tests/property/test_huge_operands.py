"""Estimates for operands up to the greatest lengths: each calculation gets one, or is refused with a reason."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pycalc.errors import DomainError, InvalidInput, ResultTooLarge
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, Options, make_plan
from pycalc.services.operations import OPERATIONS

LIMIT = 25_000_000
LENGTHS = (20, 400, 5_000, 10_000, 100_000, 700_000, 1_000_000)
# The beginning of a long literal, and the digit that fills it up.
LONG = (
    *(("9", "9"), ("1", "0"), ("-7", "7"), ("0xf", "f"), ("0x1", "0"), ("-0xf", "f"), ("0b1", "0")),
    *(("0.", "3"), ("1.", "0"), ("1/", "7"), ("2.5e", "9"), ("1e-", "9")),
)
SHORT = ("0", "1", "-1", "2", "-8", "97", "0.5", "1/3", "2000", "1e18", "1e300", "-1e5000", "1e9999")
POWER_OF_2 = "0x1" + "0" * 525_000  # 2^2,100,000

Request = tuple[str, tuple[str, ...], Options]


def literals(longest: int) -> st.SearchStrategy[str]:
    """Return a strategy for literals in many forms, with up to ``longest`` characters."""
    lengths = st.sampled_from(LENGTHS).map(lambda length: min(length, longest))
    long = st.builds(lambda form, length: form[0].ljust(length, form[1]), st.sampled_from(LONG), lengths)
    return st.one_of(long, st.sampled_from(SHORT))


def requests() -> st.SearchStrategy[Request]:
    """Return a strategy for requests of all operations, for values, residues and rounded results."""
    options = st.one_of(
        st.just(DEFAULT_OPTIONS),
        st.just(Options(precision=10_000)),
        literals(10_000).map(lambda modulus: Options(modulus=modulus)),
    )
    operands = {
        name: st.tuples(*[literals(parameter.longest) for parameter in operation.parameters])
        for name, operation in OPERATIONS.items()
    }
    return st.one_of([st.tuples(st.just(name), literal, options) for name, literal in operands.items()])


@given(requests())
@example(("binomial", (POWER_OF_2, "2000"), DEFAULT_OPTIONS))
@example(("binomial", (POWER_OF_2, "2000"), Options(modulus="97")))
@settings(max_examples=150)
def test_huge_operands_are_planned_or_refused(request: Request) -> None:
    """A calculation with huge operands gets an estimate or is refused with a reason; no other error is raised."""
    with suppress(DomainError, InvalidInput, ResultTooLarge):
        assert make_plan(LIMIT, *request).seconds > 0
