"""The tools' backend without a server or an account: this process computes, and keeps calculations in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycalc.errors import NotFound, PycalcError
from pycalc.mcp.backend import HISTORY, Calculated, DigitRange, InlineBudget, part_of
from pycalc.models.auth import Principal, Role
from pycalc.models.ids import IdSource, text_of_id
from pycalc.services.calculations.planning import Request, is_short, make_plan, require_size
from pycalc.services.calculations.requests import NO_DIGITS
from pycalc.services.compute.computer import Computer

# The tool ``digits`` can read the results of the latest requests: at most 1,000 requests, with at most 64 Mi characters
# of operands together.
_KEPT_REQUESTS, _KEPT_CHARACTERS = 1_000, 64 * 1024 * 1024
_USER = Principal(bytes(16), "", Role.USER, bytes(16), float("inf"))


class LocalBackend:
    """A backend that computes results of up to ``max_digits`` digits for one user, with the workers of ``computer``."""

    def __init__(self, computer: Computer, max_digits: int) -> None:
        self._computer = computer
        self._max_digits = max_digits
        self._ids = IdSource()
        self._requests: dict[str, Request] = {}
        self._characters = 0
        self._latest: Calculated | None = None  # its digits are likely to be read

    async def offers(self) -> Callable[[str], bool]:
        return HISTORY.__ne__

    async def calculate(self, request: Request, most_inline: int) -> Calculated:
        identity = text_of_id(self._ids.next())
        self._latest = found = await self._compute(identity, request, most_inline)
        self._requests[identity] = request
        self._characters += _length(request)
        while len(self._requests) > _KEPT_REQUESTS or self._characters > _KEPT_CHARACTERS:
            self._characters -= _length(self._requests.pop(next(iter(self._requests))))
        return found

    async def batch(
        self, requests: Sequence[Request | PycalcError], most_inline: int
    ) -> list[Calculated | PycalcError]:
        inline = InlineBudget(most_inline)
        answers: list[Calculated | PycalcError] = []
        for request in requests:
            if isinstance(request, PycalcError):
                answers.append(request)
                continue
            try:
                found = await self.calculate(request, most_inline)
                answers.append(found._replace(whole=inline.takes(len(found.text))))
            except PycalcError as error:
                answers.append(error)
            await asyncio.sleep(0)
        return answers

    async def digits(self, calculation_id: str, start: int, count: int) -> DigitRange:
        """Return digits of a result. Only the result that was computed last is kept; any other is computed again.

        Raises NotFound for a summary, and for an id that is not among the latest 1,000 of this process, or fewer if
        their operands are long. Raises InvalidInput unless ``start`` is within the result, and the errors of a
        computation.
        """
        calculation_id = calculation_id.lower()
        request = self._requests.get(calculation_id)
        if request is None:
            kept = f"only the last {_KEPT_REQUESTS:,} of this process are kept, or fewer if their operands are long"
            raise NotFound(f"There is no such calculation: {kept}.")
        if request[2].summary:
            raise NotFound(NO_DIGITS)
        found = self._latest
        if found is None or found.id != calculation_id:
            self._latest = found = await self._compute(calculation_id, request, 0)
        return part_of(found.text, start, count)

    async def history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Raise NotFound, because this backend records no calculations."""
        raise NotFound("Without a server there is no history.")

    def report(self, error: PycalcError) -> None:
        pass

    async def _compute(self, identity: str, request: Request, most_inline: int) -> Calculated:
        if is_short(*request):
            plan = make_plan(self._max_digits, *request)
        else:
            plan = await self._computer.call(_USER, make_plan, self._max_digits, *request)
        text, facts = await self._computer.compute(plan, _USER)
        require_size(plan, facts, self._max_digits)
        return Calculated(identity, text, facts, whole=len(text) <= most_inline)


def _length(request: Request) -> int:
    """Return the number of characters of a request's operands and modulus."""
    _, literals, options = request
    return sum(map(len, literals)) + len(options.modulus or "")
