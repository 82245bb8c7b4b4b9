"""Plans: what may be planned on the event loop, and what a plan says."""

from __future__ import annotations

import pytest

from pycalc.services.compute import INLINE_SECONDS
from pycalc.services.planning import DEFAULT_OPTIONS, Options, ends_of, is_short, make_plan

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
    """Long literals, large exponents, high precisions and residues of factorials go to a worker."""
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
def test_what_is_small_is(name: str, literals: tuple[str, ...], options: Options) -> None:
    """Everyday operands cost no worker."""
    assert is_short(name, literals, options)


def test_a_rounded_summary_is_planned_like_its_value() -> None:
    """Its digits are computed, so it takes as long; its precision is part of its input."""
    value = make_plan(LIMIT, "pow", ("2", "0.5"), Options(precision=5_000))
    summary = make_plan(LIMIT, "pow", ("2", "0.5"), Options(precision=5_000, summary=True))
    assert summary.seconds == value.seconds == ends_of(value).seconds > INLINE_SECONDS
    assert (value.digits, ends_of(value).digits) == (5_000, 0)
    assert summary.input == '{"x":2,"y":"0.5","precision":5000,"view":"summary"}'
