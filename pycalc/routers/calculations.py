"""Calculations as resources: created from a body, and read again."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from starlette.types import Receive, Scope, Send

from pycalc.errors import InvalidInput, NotFound
from pycalc.models.auth import Principal
from pycalc.models.formats import Uuid
from pycalc.models.history import HistoryItem, HistoryRow, encode_item
from pycalc.models.ids import id_of_text, text_of_id
from pycalc.models.math import CalculationResult
from pycalc.models.results import Facts, Result
from pycalc.routers.http.calculations import (
    POSTED_RESPONSE,
    TEXT_RESPONSES,
    Answering,
    CalculatedResponse,
    calculate_and_respond,
    plan_of,
    posted,
    respond,
    spend,
)
from pycalc.routers.http.connection import Client, max_body
from pycalc.routers.http.deps import CalculateDep, HistoryReadDep, ResourcesDep, resources_of
from pycalc.routers.http.idempotency import IN_USE, PARAMETER, KeyedRequest
from pycalc.routers.http.inputs import JSON, StrictRoute
from pycalc.routers.http.negotiation import conditions_of
from pycalc.routers.http.openapi import headers, json_body
from pycalc.routers.http.problems import responses
from pycalc.routers.http.representations import etags_of
from pycalc.routers.math import CALCULATION_ERRORS
from pycalc.services.calculations.calculator import Answer, Measure
from pycalc.services.calculations.planning import Request as Calculation
from pycalc.services.calculations.requests import into_input, read_calculation, recorded_request
from pycalc.services.operations import OPERATIONS

# The longest operands that an operation takes, plus 64 KiB for the rest of the body.
_MAX_BODY = max(sum(each.longest for each in operation.parameters) for operation in OPERATIONS.values()) + 64 * 1024

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/calculations",
    operation_id="calculate",
    status_code=201,
    openapi_extra={**json_body("CalculationRequest"), "parameters": [PARAMETER]},
    response_model=CalculationResult,
    responses={
        201: {
            **POSTED_RESPONSE[200],
            "headers": {**POSTED_RESPONSE[200]["headers"], **headers("Location")},
        },
        **IN_USE,
        **responses(*(slug for slug in CALCULATION_ERRORS if slug != "range-not-satisfiable"), "payload-too-large"),
    },
)
@max_body(_MAX_BODY)
async def calculate(request: Request, caller: CalculateDep, resources: ResourcesDep) -> Response:
    """Calculate with operands in the body. `Location` is the path of the recorded calculation."""
    return await posted(request, caller, resources, read_calculation, _create)


async def _create(
    scope: Scope,
    receive: Receive,
    send: Send,
    caller: Principal,
    calculation: Calculation,
    keyed: KeyedRequest | None,
) -> None:
    """Calculate and respond with 201. Make the pointers of an InvalidInput point into the body's ``input``."""
    try:
        await calculate_and_respond(scope, receive, send, caller, calculation, keyed, created=True)
    except InvalidInput as error:
        raise into_input(error, calculation[0]) from None


async def _recorded(
    calculation_id: Annotated[Uuid, Path(max_length=64)], caller: HistoryReadDep, resources: ResourcesDep
) -> HistoryRow:
    try:
        identity = id_of_text(calculation_id)
    except ValueError:
        raise NotFound("There is no such calculation.") from None
    return await resources.history.one(caller, identity)


RecordedDep = Annotated[HistoryRow, Depends(_recorded)]


@router.get(
    "/calculations/{calculation_id}",
    operation_id="getCalculation",
    response_model=HistoryItem,
    responses=responses("validation-error", "unauthorized", "forbidden", "not-found", "unavailable"),
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
        **responses(*CALCULATION_ERRORS, "not-found"),
    },
)
async def digits(request: Request, row: RecordedDep, caller: HistoryReadDep, resources: ResourcesDep) -> Response:
    """Return the bare digits of a recorded calculation.

    Digits that are no longer stored are computed again. Nothing is recorded.
    """
    asked = recorded_request(row) if row.result is None else None
    await spend(request.scope, caller, resources)
    return CalculatedResponse(caller, partial(_send_digits, caller=caller, row=row, asked=asked))


async def _send_digits(
    scope: Scope, receive: Receive, send: Send, caller: Principal, row: HistoryRow, asked: Calculation | None
) -> None:
    """Send the bare digits of a recorded calculation.

    If the row has no digits, ``asked``, the row's request, is calculated again. If ``asked`` is None, the digits must
    be in the cache.
    """
    resources = resources_of(scope)
    client = Client(receive)

    async def read(*, unchanged: bool, measure: Measure | None) -> Answer:
        if row.result is not None or unchanged:
            result = _result_of(row)
            if measure is not None:
                measure(result)  # raises RangeNotSatisfiable
        elif plan is None:
            result = await resources.calculator.kept(caller, row, measure)
        else:
            result = await resources.calculator.make_again(caller, row, plan, measure)
        return Answer(text_of_id(row.id), result, cached=True, elapsed_us=row.elapsed_us)

    try:
        plan = None if asked is None else await plan_of(scope, caller, asked, client)
        seconds = 0.0 if plan is None else plan.seconds
        etags = etags_of(text_of_id(row.id), resources.etag_key)
        size = int(row.digits) if plan is None else plan.digits
        answering = Answering(read, size, seconds, text=True, etags=etags)
        await respond(scope, caller, client, conditions_of(scope), answering, send)
    finally:
        client.let_go()


def _result_of(row: HistoryRow) -> Result:
    """Return the result in a row. Its text is empty if the row has none."""
    facts = Facts(row.result, row.digits, row.exact, row.leading, row.trailing, row.sha256)
    return Result((row.result or "").encode(), facts, b"", b"")
