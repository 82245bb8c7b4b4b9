"""The interface of the tools' backends, which compute for the tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from typing import Any, NamedTuple, Protocol

from pycalc.errors import FieldProblem, InvalidInput, PycalcError
from pycalc.models.results import Facts
from pycalc.services.calculations.planning import Request

BACKEND = "pycalc.mcp.backend"  # the key of a request's backend in its ASGI scope
# The tools besides the operations.
BATCH, HISTORY, DIGITS = "batch", "history", "digits"
SHORT = 40  # a result of so few characters is always sent whole, because its ends would be no shorter
MOST_ITEMS = 50  # the most calculations in a page of the history; more would fill a model's context


class Calculated(NamedTuple):
    """A calculation with the text of its result. The text of a summary is empty."""

    id: str
    text: bytes | mmap
    facts: Facts
    whole: bool  # whether the whole text is sent, rather than its first and last digits


class DigitRange(NamedTuple):
    """A range of a result's text, which begins at the character ``start``. The whole text has ``total`` characters."""

    text: str
    start: int
    total: int


class ToolBackend(Protocol):
    """A backend that computes for the tools. Its methods raise PycalcErrors, which are shown to the model."""

    async def offers(self) -> Callable[[str], bool]:
        """Return a function that takes a tool's name and returns whether the caller may use the tool."""

    async def calculate(self, request: Request, most_inline: int) -> Calculated:
        """Calculate one request. The result is sent whole if it has at most ``most_inline`` characters."""

    async def batch(
        self, requests: Sequence[Request | PycalcError], most_inline: int
    ) -> list[Calculated | PycalcError]:
        """Return the results of several requests in order, and each given error as it is.

        An InlineBudget of ``most_inline`` characters decides which results are sent whole.
        """

    async def digits(self, calculation_id: str, start: int, count: int) -> DigitRange:
        """Return up to ``count`` characters of an earlier result, from ``start``, which counts from 0."""

    async def history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return a HistoryPage of the caller's calculations, without nulls and with numbers as strings."""

    def report(self, error: PycalcError) -> None:
        """Log an internal error, and write a refusal to the audit log. A backend without logs does nothing."""


class InlineBudget:
    """A budget of ``most`` characters for the results of a batch, used up in the order of the batch."""

    def __init__(self, most: int) -> None:
        self._left = most

    def takes(self, length: int) -> bool:
        """Return whether a result of ``length`` characters is sent whole, and subtract them if they are over SHORT."""
        if length <= SHORT:
            return True
        if length > self._left:
            return False
        self._left -= length
        return True


def part_of(text: bytes | mmap, start: int, count: int) -> DigitRange:
    """Return a range of a text. Raises InvalidInput unless ``start`` is within the text."""
    total = len(text)
    if start >= total:
        detail = f"start must be below {total:,}, the number of characters of the result."
        raise InvalidInput.of(FieldProblem("/start", detail))
    return DigitRange(text[start : start + count].decode(), start, total)
