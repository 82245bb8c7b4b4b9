"""The interface between the tools and what computes for them: the service, or this process alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from mmap import mmap
from typing import Any, NamedTuple, Protocol

from pycalc.errors import FieldProblem, InvalidInput, PycalcError
from pycalc.models.results import Facts
from pycalc.services.calculations.planning import Request

# The tools besides the operations.
BATCH, HISTORY, DIGITS = "batch", "history", "digits"
MOST_ITEMS = 50  # of a page of the history; more would fill a model's context


class Calculated(NamedTuple):
    """A calculation with its result; the text of a summary is empty."""

    id: str
    text: bytes | mmap
    facts: Facts


class DigitRange(NamedTuple):
    """A part of a result's text, of ``total`` characters, that begins at the character ``start``."""

    text: str
    start: int
    total: int


class ToolBackend(Protocol):
    """What computes for the tools. Its methods raise PycalcErrors, which become errors of the tool."""

    def offers(self, tool: str) -> bool:
        """Return whether the caller may use the tool of this name."""

    async def calculate(self, request: Request, most_inline: int) -> Calculated:
        """Calculate; of a text of more than ``most_inline`` characters only the ends will be sent."""

    async def batch(self, requests: Sequence[Request | PycalcError]) -> list[Calculated | PycalcError]:
        """Calculate several requests, and answer them in order; an error among them is its own answer."""

    async def digits(self, calculation_id: str, start: int, count: int) -> DigitRange:
        """Return up to ``count`` characters of the result of an earlier calculation, from the character ``start``."""

    async def history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page of the caller's calculations, as a HistoryPage."""

    def report(self, error: PycalcError) -> None:
        """Log an error of a tool, where that is due."""


def part_of(text: bytes | mmap, start: int, count: int) -> DigitRange:
    """Return a part of a text; raises InvalidInput when it would begin beyond the end."""
    total = len(text)
    require_within(start, total)
    return DigitRange(text[start : start + count].decode(), start, total)


def require_within(start: int, total: int) -> None:
    """Raise InvalidInput unless a part that begins at ``start`` begins within a text of ``total`` characters."""
    if start >= total:
        detail = f"start must be below {total:,}, the number of characters of the result."
        raise InvalidInput.of(FieldProblem("/start", detail))
