"""Batches: many calculations in one request."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from pycalc.errors import PycalcError
from pycalc.models.auth import Principal
from pycalc.models.math import BatchResults
from pycalc.observability.requests import context_of
from pycalc.routers.http.calculations import require_some, spend
from pycalc.routers.http.connection import max_body, while_connected
from pycalc.routers.http.deps import CalculateDep, ResourcesDep
from pycalc.routers.http.headers import rate_limit_fields
from pycalc.routers.http.idempotency import IN_USE, PARAMETER, REPLAYED, KeyedRequest, key_name, keyed_request
from pycalc.routers.http.inputs import JSON, StrictRoute, require_media_type
from pycalc.routers.http.openapi import headers, json_body
from pycalc.routers.http.problems import problem_body, responses
from pycalc.routers.http.representations import BatchResponse, Piece, json_around
from pycalc.services.calculations.batch import BATCH_ITEM_BYTES, BatchAnswer, BatchCalculator, BatchRequest
from pycalc.services.calculations.requests import read_batch

router = APIRouter(tags=["calculations"], route_class=StrictRoute)


@router.post(
    "/batch",
    operation_id="calculateBatch",
    openapi_extra={**json_body("Batch"), "parameters": [PARAMETER]},
    response_model=BatchResults,
    responses={
        200: {"headers": headers("RateLimit", "RateLimit-Policy", REPLAYED)},
        **IN_USE,
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
async def batch(request: Request, caller: CalculateDep, resources: ResourcesDep) -> Response:
    """Do up to 1,000 calculations in one transaction. Each answer is a calculation or a problem, in order."""
    require_media_type(request, JSON)
    name = key_name(request)
    resources.batches.slots.require_free(1)
    await require_some(caller, resources)
    with resources.long_bodies.acquire(caller.user_id):
        body = await request.body()
        requests = read_batch(body)
    keyed = None if name is None else await keyed_request(request, caller, name, body)
    with ExitStack() as reservations:
        # The operands are in memory three times: in the body, in the requests, and in the answers.
        size = 3 * len(body) + BATCH_ITEM_BYTES * len(requests)
        reservations.enter_context(resources.response_memory.acquire(caller.user_id, size))
        await spend(request.scope, caller, resources, len(requests))
        work = _calculate(caller, requests, reservations, resources.batches, keyed)
        answers = await while_connected(request.receive, work)
        fields = rate_limit_fields(context_of(request.scope).limits, resources.quotas.members(caller))
        if keyed is not None:
            fields = [*fields, *keyed.fields()]
        return BatchResponse(answers, _pieces, fields, resources.computer.scheduler, reservations.pop_all())


async def _calculate(
    caller: Principal,
    requests: Sequence[BatchRequest],
    reservations: ExitStack,
    batches: BatchCalculator,
    keyed: KeyedRequest | None,
) -> list[BatchAnswer]:
    """Calculate a batch. If a batch with the same idempotency key is recorded, return the recorded answers."""
    if keyed is None:
        return await batches.calculate(caller, requests, reservations)
    calculate = partial(batches.calculate, caller, requests, reservations, (keyed.key, _problem))
    return await keyed.once(calculate, partial(batches.answer_again, caller, requests, reservations))


def _problem(error: PycalcError) -> dict[str, object]:
    return problem_body(error, "/batch")


def _pieces(answer: BatchAnswer) -> Sequence[Piece]:
    """Return the JSON of one calculation or one problem, in pieces."""
    if isinstance(answer, bytes):
        return (answer,)
    if isinstance(answer, PycalcError):
        return (to_json(_problem(answer)),)
    before, after = json_around(answer)
    return before, answer.result.text, after
