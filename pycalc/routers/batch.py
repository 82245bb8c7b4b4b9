"""Batches: many calculations in one request."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from pycalc.errors import PycalcError
from pycalc.models.math import BatchResults
from pycalc.observability.requests import context_of
from pycalc.routers.http.calculations import require_remaining, spend
from pycalc.routers.http.connection import max_body, while_connected
from pycalc.routers.http.deps import CalculateDep, ResourcesDep
from pycalc.routers.http.headers import rate_limit_fields
from pycalc.routers.http.idempotency import IN_USE, PARAMETER, REPLAYED, once, request_key
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.openapi import headers, json_body
from pycalc.routers.http.problem_types import problem_body, responses
from pycalc.routers.http.representations import Piece, batch_response, json_around
from pycalc.services.calculations.batch import BATCH_ITEM_BYTES, BatchAnswer
from pycalc.services.calculations.requests import read_batch

_problem = partial(problem_body, instance="/batch")

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/batch",
    operation_id="calculateBatch",
    openapi_extra={**json_body("Batch"), "parameters": [PARAMETER]},
    response_model=BatchResults,
    responses={
        200: {"headers": headers("RateLimit", "RateLimit-Policy", REPLAYED)},
        **IN_USE,
        **responses("rate-limited", "overloaded"),
    },
)
@max_body(1024 * 1024)
async def batch(request: Request, caller: CalculateDep, resources: ResourcesDep) -> Response:
    """Do up to 1,000 calculations, and record them in one transaction.

    The answers are in the order of the operations. Each is a calculation, a summary or an RFC 9457 problem.
    """
    resources.batches.slots.require_free(1)
    await require_remaining(caller, resources)
    with resources.long_bodies.acquire(caller.user_id):
        body = await request.body()
        requests = read_batch(body)
    key = await request_key(request, caller, body)
    with ExitStack() as reservations:
        # The operands are in memory three times: in the body, in the requests, and in the answers.
        size = 3 * len(body) + BATCH_ITEM_BYTES * len(requests)
        reservations.enter_context(resources.response_memory.acquire(caller.user_id, size))
        await spend(request.scope, caller, resources, len(requests))
        calculate = partial(resources.batches.calculate, caller, requests, reservations)
        if key is None:
            work = calculate()
        else:
            again = partial(resources.batches.answer_again, caller, requests, reservations)
            work = once(request.scope, key, partial(calculate, (key, _problem)), again)
        answers = await while_connected(request.receive, work)
        context = context_of(request.scope)
        fields = [*context.fields, *rate_limit_fields(context.limits, resources.quotas.members(caller))]
        return batch_response(_json(answers), fields, resources.computer.scheduler, reservations.pop_all())


def _json(answers: Sequence[BatchAnswer]) -> list[Piece]:
    """Return the JSON of one or more answers, in pieces."""
    pieces: list[Piece] = []
    for answer in answers:
        pieces.append(b"," if pieces else b'{"results":[')
        if isinstance(answer, bytes):
            pieces.append(answer)
        elif isinstance(answer, PycalcError):
            pieces.append(to_json(_problem(answer)))
        else:
            before, after = json_around(answer)
            parts = (before, answer.result.text, after)
            # Short parts are joined, because few pieces are sent faster than many.
            pieces += (b"".join(parts),) if len(answer.result.text) <= BATCH_ITEM_BYTES else parts
    return [*pieces, b"]}"]
