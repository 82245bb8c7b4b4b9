"""Evaluation of expressions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from pycalc.models.math import Calculation
from pycalc.routers.http.calculations import POSTED_RESPONSE, calculate_and_respond, posted
from pycalc.routers.http.connection import max_body
from pycalc.routers.http.deps import CalculateDep, ResourcesDep
from pycalc.routers.http.idempotency import IN_USE, PARAMETER
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.openapi import json_body
from pycalc.routers.http.problems import responses
from pycalc.services.calculations.evaluation import read_evaluation

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/evaluate",
    operation_id="evaluate",
    openapi_extra={**json_body("Evaluation"), "parameters": [PARAMETER]},
    response_model=Calculation,
    responses={
        **POSTED_RESPONSE,
        **IN_USE,
        **responses(
            "validation-error",
            "domain-error",
            "result-too-large",
            "unauthorized",
            "forbidden",
            "rate-limited",
            "quota-exceeded",
            "payload-too-large",
            "computation-timeout",
            "overloaded",
            "unavailable",
        ),
    },
)
@max_body(64 * 1024)  # 10,000 characters, each of them escaped
async def evaluate(request: Request, caller: CalculateDep, resources: ResourcesDep) -> Response:
    """Evaluate an expression exactly.

    An expression may contain `+ - * / // % ^ !`, `mod`, comparisons, and operations by name.
    """
    return await posted(request, caller, resources, read_evaluation, calculate_and_respond)
