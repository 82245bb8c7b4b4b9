"""Batches: many calculations in one request."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from pycalc.errors import PycalcError
from pycalc.models.math import BatchResults
from pycalc.observability.requests import context_of
from pycalc.routers.http.calculations import spend
from pycalc.routers.http.connection import max_body, while_connected
from pycalc.routers.http.deps import CallerDep, ResourcesDep
from pycalc.routers.http.headers import quota_fields
from pycalc.routers.http.inputs import JSON, StrictRoute, require_media_type
from pycalc.routers.http.openapi import headers, json_body
from pycalc.routers.http.problems import problem_body, responses
from pycalc.routers.http.representations import BatchResponse, Piece, json_around
from pycalc.services.calculations.batch import BATCH_ITEM_BYTES
from pycalc.services.calculations.calculator import Answer
from pycalc.services.calculations.requests import read_batch

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/batch",
    operation_id="calculateBatch",
    openapi_extra=json_body("Batch"),
    response_model=BatchResults,
    responses={
        200: {"headers": headers("RateLimit", "RateLimit-Policy")},
        **responses(
            "validation-error",
            "unauthorized",
            "forbidden",
            "rate-limited",
            "payload-too-large",
            "overloaded",
            "unavailable",
        ),
    },
)
@max_body(1024 * 1024)
async def batch(request: Request, caller: CallerDep, resources: ResourcesDep) -> Response:
    """Do up to 1,000 calculations, answered in order, each a calculation or a problem, recorded in one transaction."""
    require_media_type(request, JSON)
    resources.batches.slots.require_free(1)
    limit = resources.calculation_limits.of(caller.limits.rate_limit)
    if limit is not None:
        await limit.require_some(caller.user_id)
    with resources.long_bodies.acquire(caller.user_id):
        body = await request.body()
        requests = read_batch(body)
    with ExitStack() as memory:
        # The operands are in memory three times: in the body, in the requests, and in the answers.
        size = 3 * len(body) + BATCH_ITEM_BYTES * len(requests)
        memory.enter_context(resources.response_memory.acquire(caller.user_id, size))
        await spend(request.scope, caller, resources, len(requests))
        work = resources.batches.calculate(caller, requests, memory)
        answers = await while_connected(request.receive, work)
        fields = quota_fields(context_of(request.scope).quotas)
        return BatchResponse(answers, _pieces, fields, resources.computer.scheduler, memory.pop_all())


def _pieces(answer: Answer | PycalcError) -> Sequence[Piece]:
    """Return the pieces of the JSON of one calculation or one problem."""
    if isinstance(answer, PycalcError):
        return (to_json(problem_body(answer, "/batch")),)
    before, after = json_around(answer)
    return before, answer.result.text, after
