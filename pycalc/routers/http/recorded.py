"""Recorded calculations, and the digits of their results."""

from __future__ import annotations

from starlette.types import Scope

from pycalc.models.auth import Principal
from pycalc.models.history import HistoryRow
from pycalc.models.ids import text_of_id
from pycalc.models.results import Facts, Result
from pycalc.routers.http.calculations import PendingAnswer, plan_of
from pycalc.routers.http.connection import Client
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.representations import etags_of
from pycalc.services.calculations.calculator import Answer, Measure
from pycalc.services.calculations.planning import Request as Calculation


async def recorded_answer(
    scope: Scope, caller: Principal, row: HistoryRow, asked: Calculation | None, client: Client | None
) -> PendingAnswer:
    """Return a PendingAnswer that has the digits of a recorded calculation.

    ``asked`` is the calculation's original request, if it is known. Digits that ``row`` lacks come from the cache, or
    are computed from ``asked``. Raises the errors of ``plan_of`` unless ``asked`` is None, among them ClientGone if
    ``client`` disconnects. If ``client`` is None, disconnects are not detected here.
    """
    resources = resources_of(scope)
    plan = None if asked is None else await plan_of(scope, caller, asked, client)

    async def read(*, unchanged: bool, measure: Measure | None) -> Answer:
        if row.result is not None or unchanged:
            facts = Facts(row.result, row.digits, row.exact, row.leading, row.trailing, row.sha256)
            result = Result((row.result or "").encode(), facts, b"", b"")
            if measure is not None:
                measure(result)  # may raise RangeNotSatisfiable or InvalidInput
        else:
            result = await resources.calculator.make_again(caller, row, plan, measure)
        return Answer(text_of_id(row.id), result, cached=True, elapsed_us=row.elapsed_us)

    seconds = 0.0 if plan is None else plan.seconds
    etags = etags_of(text_of_id(row.id), resources.etag_key)
    size = int(row.digits) if plan is None else plan.digits
    return PendingAnswer(read, size, seconds, text=True, etags=etags)
