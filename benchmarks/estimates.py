"""A benchmark of the cost estimates, for operands of all lengths and awkward forms."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from time import thread_time
from typing import NamedTuple

from pycalc.errors import PycalcError
from pycalc.services.calculations.planning import make_plan
from pycalc.services.compute.worker import execute
from tests.harness.mission import THREE
from tests.harness.operands import KINDS, LONGEST, Case, Drawing

MAX_DIGITS = 25_000_000
LONGEST_SECONDS = 5.0
JUDGED_SECONDS = 0.05
TARGET_FACTOR = 4
DRAWN = 60


class Measured(NamedTuple):
    """The estimate of a calculation, and the processor time of planning and computing it."""

    case: Case
    estimate: float
    planning: float
    computing: float

    @property
    def judged(self) -> bool:
        """Return whether the computation is long enough to be judged."""
        return max(self.estimate, self.computing) > JUDGED_SECONDS

    @property
    def ratio(self) -> float:
        """Return the actual time divided by the estimate."""
        return self.computing / self.estimate


def measured(cases: Iterator[Case]) -> Iterator[Measured]:
    """Plan and compute each case that is defined and does not take too long."""
    for case in cases:
        started = thread_time()
        try:
            plan = make_plan(MAX_DIGITS, case.operation, case.literals, case.options)
        except PycalcError:
            continue
        planned = thread_time()
        if plan.seconds < LONGEST_SECONDS:
            try:
                execute(plan.task)
            except PycalcError:
                continue
            yield Measured(case, plan.seconds, planned - started, thread_time() - planned)


def estimates() -> None:
    """Print the extremes of actual time over estimated time, for each operation and kind of answer."""
    print(
        f"\n## Time taken over time estimated, above {JUDGED_SECONDS * 1000:.0f} ms (target 1/4 to {TARGET_FACTOR})\n"
    )
    print("| operation | answer | drawn | judged | least | most | longest planning ms |")
    print("|---|---|---|---|---|---|---|")
    for operation in (*THREE, *LONGEST):
        kinds = KINDS if operation == "pow" else KINDS[:-1] if operation in THREE else ("value",)
        for kind in kinds:
            drawing = Drawing(Random(20261128))  # noqa: S311  # operands, no secrets
            found = list(measured(drawing.case(operation, kind) for _ in range(DRAWN)))
            ratios = [each.ratio for each in found if each.judged]
            extremes = f"{min(ratios):.2f} | {max(ratios):.2f}" if ratios else "- | -"
            planning = max(each.planning for each in found) * 1000
            print(
                f"| {operation} | {kind} | {len(found)} | {len(ratios)} | {extremes} | {planning:.0f} |",
                flush=True,
            )
            for each in found:
                if each.judged and not 1 / TARGET_FACTOR <= each.ratio <= TARGET_FACTOR:
                    print(f"  missed: {_named(each)}")


def _named(each: Measured) -> str:
    literals = ", ".join(f"{literal[:12]}... ({len(literal)})" for literal in each.case.literals)
    modulus = each.case.options.modulus
    given = f" mod {modulus[:12]}... ({len(modulus)})" if modulus else f" to {each.case.options.precision} digits"
    return f"{each.case.operation} {literals}{given}: {each.computing:.3f} s, estimated {each.estimate:.3f} s"
