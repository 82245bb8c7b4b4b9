"""A plan: what the computer is given, and what the calculation knows before it is computed."""

from __future__ import annotations

from dataclasses import dataclass

from pycalc.services.compute.worker import Task

PLANNING_MEMORY = 256 << 20
"""Bytes that planning may take in a worker."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A calculation that is well-formed and within its domain."""

    task: Task
    key: str
    input: str
    recorded_input: str
    seconds: float
    digits: int
    """Those of the result's text, as estimated; 0 for a summary."""
    summary_seconds: float
    """What only its size and ends would take; a residue is all ends."""
    memory: int
    """Bytes that a worker may take for it beside what it has at its start."""
    too_large: bool
    """More digits than are written out: only its summary is computed, to say so."""
