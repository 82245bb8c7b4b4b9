"""Calculations as resources: created from a body, and read again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.types import Receive, Scope, Send

from pycalc.models.history import HistoryItem, HistoryRow, encode_item
from pycalc.models.math import CalculationResult
from pycalc.routers.http.calculations import (
    CALCULATION_PROBLEMS,
    POSTED_RESPONSE,
    TEXT_RESPONSES,
    posted,
    recorded_answer,
    respond,
    spend,
    take_slot,
)
from pycalc.routers.http.connection import Client, max_body
from pycalc.routers.http.deps import CalculateDep, HistoryReadDep, IdInPath, ResourcesDep, id_in_path
from pycalc.routers.http.idempotency import IN_USE, PARAMETER
from pycalc.routers.http.inputs import JSON, StrictRoute
from pycalc.routers.http.negotiation import conditions_of
from pycalc.routers.http.openapi import headers, json_body
from pycalc.routers.http.problem_types import responses
from pycalc.routers.http.sending import DeferredResponse
from pycalc.services.calculations.requests import read_calculation, recorded_request
from pycalc.services.operations import OPERATIONS

# The longest operands that an operation takes, plus 64 KiB for the rest of the body.
_MAX_BODY = max(sum(each.longest for each in operation.parameters) for operation in OPERATIONS.values()) + 64 * 1024

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/calculations",
    status_code=201,
    openapi_extra={**json_body("CalculationRequest"), "parameters": [PARAMETER]},
    response_model=CalculationResult,
    responses={
        201: {**POSTED_RESPONSE[200], "headers": {**POSTED_RESPONSE[200]["headers"], **headers("Location")}},
        **IN_USE,
        **CALCULATION_PROBLEMS,
    },
)
@max_body(_MAX_BODY)
async def calculate(request: Request, caller: CalculateDep, resources: ResourcesDep) -> Response:
    """Calculate with operands in the body. `Location` is the path of the recorded calculation."""
    return await posted(request, caller, resources, read_calculation, created=True)


async def _recorded(calculation_id: IdInPath, caller: HistoryReadDep, resources: ResourcesDep) -> HistoryRow:
    return await resources.history.one(caller, id_in_path(calculation_id, "calculation"))


RecordedDep = Annotated[HistoryRow, Depends(_recorded)]


@router.get(
    "/calculations/{calculation_id}",
    operation_id="getCalculation",
    response_model=HistoryItem,
    responses=responses("not-found"),
)
async def calculation(row: RecordedDep) -> Response:
    """Return a recorded calculation as shown in the history: one's own, or anyone's for an admin."""
    return Response(encode_item(row), media_type=JSON)


@router.get(
    "/calculations/{calculation_id}/digits",
    operation_id="getDigits",
    response_class=Response,
    responses={
        **TEXT_RESPONSES,
        200: {**TEXT_RESPONSES[200], "description": "The bare digits, which `Range` may ask for in part."},
        304: {**TEXT_RESPONSES[304], "description": "The client's copy of the bare digits (`If-None-Match`) is good."},
        **CALCULATION_PROBLEMS,
        **responses("not-found"),
    },
)
async def digits(request: Request, row: RecordedDep, caller: HistoryReadDep, resources: ResourcesDep) -> Response:
    """Return the bare digits of a recorded calculation: stored, cached, or computed again. Nothing is recorded.

    If the history has abbreviated an operand, the digits can't be computed again.
    """
    asked = recorded_request(row) if row.result is None else None
    await spend(request.scope, caller, resources)

    async def send_digits(scope: Scope, receive: Receive, send: Send) -> None:
        take_slot(scope, caller)
        with Client(receive) as client:
            pending = await recorded_answer(scope, caller, row, asked, client)
            await respond(scope, caller, client, conditions_of(scope), pending, send)

    return DeferredResponse(send_digits)
