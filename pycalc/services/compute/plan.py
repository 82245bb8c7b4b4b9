"""The plan of a calculation: the task to compute, and its estimated cost and size."""

from __future__ import annotations

from dataclasses import dataclass

from pycalc.services.compute.worker import Task

PLANNING_MEMORY = 256 << 20  # bytes that planning may take in a worker
BASE_MEMORY = 128 << 20  # bytes that any computation may take: far more than a small one needs


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a calculation, whose operands are well-formed and, as far as planning can tell, in the domain."""

    task: Task
    key: str  # of the result in the cache
    input: str  # the operands and options as JSON, for the answer
    recorded_input: str  # the same for the history, which abbreviates long operands to fewer characters
    seconds: float  # to compute and verify the result, as estimated
    digits: int = 0  # digits of the result's text, as estimated; 0 for a summary
    # The cost of only the size and ends; ``seconds`` if they need the result, or if the task is a summary.
    summary_seconds: float = 0.0
    memory: int = BASE_MEMORY  # bytes that a worker may take in addition to those at its start
    too_large: bool = False  # the result has too many digits: only its summary is computed, for the error
