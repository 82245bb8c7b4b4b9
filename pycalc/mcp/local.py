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

# The tool ``digits`` reads the latest results: at most 1,000, and 64 MiB together; the last one in any case.
_MOST_KEPT, _KEPT_BYTES = 1_000, 64 * 1024 * 1024
_USER = Principal(bytes(16), "", Role.USER, bytes(16), float("inf"))


class LocalBackend:
    """A backend that computes results of up to ``max_digits`` digits for one user, with the workers of ``computer``."""

    def __init__(self, computer: Computer, max_digits: int) -> None:
        self._computer = computer
        self._max_digits = max_digits
        self._ids = IdSource()
        self._kept: dict[str, Calculated] = {}
        self._kept_bytes = 0

    async def offers(self) -> Callable[[str], bool]:
        return HISTORY.__ne__

    async def calculate(self, request: Request, most_inline: int) -> Calculated:
        if is_short(*request):
            plan = make_plan(self._max_digits, *request)
        else:
            plan = await self._computer.call(_USER, make_plan, self._max_digits, *request)
        text, facts = await self._computer.compute(plan, _USER)
        require_size(plan, facts, self._max_digits)
        found = Calculated(text_of_id(self._ids.next()), text, facts, whole=len(text) <= most_inline)
        self._kept[found.id] = found
        self._kept_bytes += len(text)
        while len(self._kept) > 1 and (len(self._kept) > _MOST_KEPT or self._kept_bytes > _KEPT_BYTES):
            self._kept_bytes -= len(self._kept.pop(next(iter(self._kept))).text)
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
        """Return digits of a kept result. Raises NotFound for another id and for a summary, and InvalidInput."""
        found = self._kept.get(calculation_id.lower())
        if found is None:
            raise NotFound("There is no such calculation, or its result is no longer kept: calculate it again.")
        if not found.text:
            raise NotFound(NO_DIGITS)
        return part_of(found.text, start, count)

    async def history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Raise NotFound, because this backend records no calculations."""
        raise NotFound("Without a server there is no history.")

    def report(self, error: PycalcError) -> None:
        pass
