"""Evaluation of expressions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pycalc.models.json_text import json_number
from pycalc.models.math import Calculation, EvaluationPreview
from pycalc.routers.http.calculations import CALCULATION_PROBLEMS, POSTED_RESPONSE, posted, spend
from pycalc.routers.http.connection import max_body, while_connected
from pycalc.routers.http.deps import CalculateDep, ResourcesDep
from pycalc.routers.http.idempotency import IN_USE, PARAMETER
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.openapi import json_body
from pycalc.services.calculations.requests import read_evaluation

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/evaluate",
    openapi_extra={**json_body("Evaluation"), "parameters": [PARAMETER]},
    response_model=Calculation,
    responses={**POSTED_RESPONSE, **IN_USE, **CALCULATION_PROBLEMS},
)
@max_body(64 * 1024)  # 10,000 characters, each of them escaped
async def evaluate(request: Request, caller: CalculateDep, resources: ResourcesDep) -> Response:
    """Evaluate an expression exactly, or to `precision` significant digits if its value is irrational.

    An expression may contain `+ - * / // % ^ !`, `mod`, comparisons, and operations by name.
    """
    return await posted(request, caller, resources, read_evaluation)


@router.post(
    "/evaluate/preview",
    operation_id="previewEvaluation",
    openapi_extra=json_body("Evaluation"),
    response_model=EvaluationPreview,
    responses=CALCULATION_PROBLEMS,
)
@max_body(64 * 1024)
async def preview(request: Request, caller: CalculateDep, resources: ResourcesDep) -> Response:
    """Return the size and cost of an expression, or the place of its error; nothing is computed or recorded.

    A preview counts towards the rate limit as a calculation does.
    """
    await spend(request.scope, caller, resources)
    evaluation = read_evaluation(await request.body())
    found = await while_connected(request.receive, resources.calculator.preview(caller, evaluation))
    estimate = found.estimate
    answer: EvaluationPreview = {
        "expression": found.expression,
        "digits": json_number(estimate.digits),
        "exact": estimate.exact,
        "too_large": estimate.digits > resources.calculator.max_digits,
        "limit": resources.calculator.max_digits,
        "seconds": min(estimate.seconds, 1e12),  # an estimate may be infinite, and JSON has no number for that
        "timeout": resources.computer.timeout,
    }
    if found.call is not None:
        name, operands = found.call
        answer["call"] = {"operation": name, "input": dict(operands)}
    return JSONResponse(answer)  # validation would turn strings of digits into numbers
