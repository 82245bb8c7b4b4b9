"""Evaluation of expressions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from pycalc.models.auth import Principal
from pycalc.models.math import Calculation
from pycalc.observability.requests import context_of
from pycalc.routers.http.calculations import POSTED_RESPONSE, calculate_and_respond
from pycalc.routers.http.connection import max_body
from pycalc.routers.http.deps import CallerDep, ResourcesDep, resources_of
from pycalc.routers.http.headers import with_quotas
from pycalc.routers.http.inputs import JSON, StrictRoute, require_media_type
from pycalc.routers.http.openapi import json_body
from pycalc.routers.http.problems import responses
from pycalc.services.calculations.evaluation import read_evaluation
from pycalc.services.calculations.planning import Request as Calculated

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/evaluate",
    operation_id="evaluate",
    openapi_extra=json_body("Evaluation"),
    response_model=Calculation,
    responses={
        **POSTED_RESPONSE,
        **responses(
            "validation-error",
            "domain-error",
            "result-too-large",
            "unauthorized",
            "rate-limited",
            "payload-too-large",
            "computation-timeout",
            "overloaded",
            "unavailable",
        ),
    },
)
@max_body(64 * 1024)  # 10,000 characters, each of them escaped
async def evaluate(request: Request, caller: CallerDep, resources: ResourcesDep) -> Response:
    """Evaluate an expression exactly, over `+ - * / // % ^ !`, `mod`, comparisons, and the operations by name."""
    require_media_type(request, JSON)
    if resources.calculation_limit is not None:
        await resources.calculation_limit.require_some(caller.user_id)
    with resources.long_bodies.acquire(caller.user_id):
        calculation = read_evaluation(await request.body())
    if resources.calculation_limit is not None:
        context_of(request.scope).quotas = await resources.calculation_limit.spend(caller.user_id)
    return _Evaluated(caller, calculation)


class _Evaluated(Response):
    """The response to an evaluation, which is calculated when it is sent."""

    def __init__(self, caller: Principal, calculation: Calculated) -> None:
        super().__init__()
        self._caller = caller
        self._calculation = calculation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Calculate and respond; errors are raised before anything is sent."""
        resources, context, caller = resources_of(scope), context_of(scope), self._caller
        if context.quotas:
            send = with_quotas(context.quotas, send)
        context.release_slot = resources.calculator.slots.acquire(caller.user_id).release
        await calculate_and_respond(scope, receive, send, caller, self._calculation)
