"""A benchmark of the estimates of computing time, for operands of all lengths and forms, and for expressions."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from random import Random
from time import thread_time
from typing import NamedTuple

from pycalc.errors import PycalcError
from pycalc.services.calculations.planning import DEFAULT_OPTIONS, HANDOVER_SECONDS, Options, is_short, make_plan
from pycalc.services.compute.plan import Plan
from pycalc.services.compute.worker import execute
from tests.harness.mission import THREE
from tests.harness.operands import KINDS, LONGEST, Case, Drawing, long_expression

MAX_DIGITS = 25_000_000
LONGEST_SECONDS = 0.25
# Shorter computations are not judged, because their estimates decide only between event loop and worker process.
JUDGED_SECONDS = 0.001
TARGET_FACTOR = 4
DRAWN = 1_000
REPEATED_SECONDS = 0.02  # a shorter computation is repeated, and its shortest time counts
SHOWN = 3
FEWEST = 100  # if fewer computations than this are judged, the printed median is that of all computations
REFERENCE = make_plan(MAX_DIGITS, "fibonacci", ("2000000",), DEFAULT_OPTIONS)


class Measured(NamedTuple):
    """A calculation, its estimate, and the processor time of planning and of computing it, in seconds.

    The measured times are scaled, to compensate for the machine's speed. The estimate does not include the time in
    which long operands are handed over to a worker process.
    """

    case: Case
    estimate: float
    planning: float
    computing: float

    @property
    def judged(self) -> bool:
        """Return whether the computation is long enough for comparing its estimate with the measured time."""
        return max(self.estimate, self.computing) > JUDGED_SECONDS

    @property
    def ratio(self) -> float:
        """Return the measured time divided by the estimate."""
        return self.computing / self.estimate

    @property
    def missed(self) -> bool:
        """Return whether the estimate differs from the measured time by a factor above TARGET_FACTOR.

        For a computation that is too short for this comparison, return False.
        """
        return self.judged and not 1 / TARGET_FACTOR <= self.ratio <= TARGET_FACTOR


def computing_seconds(plan: Plan) -> float:
    """Return the processor time of a computation in seconds; for a short computation, the shortest of three runs."""
    found: list[float] = []
    while not found or (len(found) < 3 and min(found) < REPEATED_SECONDS):
        started = thread_time()
        execute(plan.task)
        found.append(thread_time() - started)
    return min(found)


def measured(cases: Iterator[Case]) -> Iterator[Measured]:
    """Plan and compute each case; skip cases that fail or are estimated to take too long.

    To compensate for the machine's speed, one factor scales all measured times. With this factor, the time of
    F(2,000,000) equals its estimate.
    """
    slowness = computing_seconds(REFERENCE) / REFERENCE.seconds
    for case in cases:
        request = (case.operation, case.literals, case.options)
        started = thread_time()
        try:
            plan = make_plan(MAX_DIGITS, *request)
        except PycalcError:
            continue
        planning = thread_time() - started
        if plan.too_large or plan.seconds > LONGEST_SECONDS:
            continue
        try:
            seconds = computing_seconds(plan)
        except PycalcError:
            continue
        handover = 0.0 if is_short(*request) else HANDOVER_SECONDS
        yield Measured(case, plan.seconds - handover, planning / slowness, seconds / slowness)


def drawn(operation: str, kind: str) -> Iterator[Case]:
    """Yield random calculations of one operation, or random expressions for "evaluate".

    ``kind`` is "value", "mod" (a residue), "summary" or, for powers only, "precision" (a rounded value).
    """
    random = Random(20261129)  # noqa: S311  # operands, not secrets
    drawing = Drawing(random)
    for _ in range(DRAWN):
        if operation == "evaluate":
            yield Case("drawn", operation, (long_expression(random),), Options(0))
        else:
            yield drawing.case(operation, kind)


def estimates() -> None:
    """Print the ratios of measured to estimated time, for each operation and kind of result, and for expressions."""
    import flint  # noqa: F401  # import it before the clock starts

    print(f"\n## Time taken over time estimated, up to {LONGEST_SECONDS} s (target: median 1/1.5 to 1.5,", end=" ")
    print(f"worst above {JUDGED_SECONDS * 1e3:.0f} ms 1/{TARGET_FACTOR} to {TARGET_FACTOR})\n")
    print("| operation | answer | computed | median | above 1 ms | least | most | missed | longest planning ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for operation in (*THREE, *LONGEST, "evaluate"):
        kinds = KINDS if operation == "pow" else KINDS[:-1] if operation in THREE else ("value",)
        for kind in kinds:
            found = list(measured(drawn(operation, kind)))
            judged = [each.ratio for each in found if each.judged]
            extremes = f"{min(judged):.2f} | {max(judged):.2f}" if judged else "- | -"
            median = statistics.median(judged if len(judged) >= FEWEST else [each.ratio for each in found])
            missed = [each for each in found if each.missed]
            planning = max(each.planning for each in found) * 1000
            print(
                f"| {operation} | {kind} | {len(found)} | {median:.2f} | {len(judged)} | {extremes} | {len(missed)} "
                f"| {planning:.0f} |",
                flush=True,
            )
            for each in missed[:SHOWN]:
                print(f"  missed: {_named(each)}")


def _named(each: Measured) -> str:
    literals = ", ".join(
        literal if len(literal) <= 100 else f"{literal[:12]}... ({len(literal)})" for literal in each.case.literals
    )
    modulus = each.case.options.modulus
    given = f" mod {modulus[:12]}... ({len(modulus)})" if modulus else ""
    return f"{each.case.operation} {literals}{given}: {each.computing:.4f} s, estimated {each.estimate:.4f} s"
