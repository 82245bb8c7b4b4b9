"""Requests for one calculation, and responses in the representation that the client prefers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pycalc.errors import InvalidInput, PreconditionFailed
from pycalc.models.auth import Principal
from pycalc.observability.requests import context_of
from pycalc.resources.wiring import Resources
from pycalc.routers.http.connection import Client, most_bytes_of_body
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.headers import Header, rate_limit_fields, with_headers
from pycalc.routers.http.idempotency import REPLAYED, KeyedRequest, key_name, keyed_request
from pycalc.routers.http.negotiation import RequestConditions, conditions_of, is_current, matching, preferred
from pycalc.routers.http.openapi import headers
from pycalc.routers.http.problem_types import responses
from pycalc.routers.http.representations import (
    JSON,
    TEXT,
    WHOLE,
    accept_of,
    etags_of,
    measure_of,
    send_json,
    send_not_modified,
    send_text,
    throttled,
)
from pycalc.routers.http.sending import DeferredResponse, in_time
from pycalc.services.calculations.calculator import Answer, Calculator, Measure
from pycalc.services.calculations.planning import Request as Calculation
from pycalc.services.calculations.planning import is_short
from pycalc.services.calculations.requests import into_input
from pycalc.services.compute.computer import INLINE_SECONDS
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.calculation_rate import CalculationRateLimit
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES

_BODY_SLOT_BYTES = 1024 * 1024  # a body takes one slot while it is read, and one more for each MiB
_COPIES = 4  # copies of a body in memory, such as its literals and the message to a worker process
# The OpenAPI entries of the problems of every calculation, and of responses with bare digits.
CALCULATION_PROBLEMS = responses(
    *("domain-error", "result-too-large", "rate-limited", "quota-exceeded", "computation-timeout", "overloaded")
)
# Header fields that every response to a calculation may have.
_OF_EACH = ("RateLimit", "RateLimit-Policy", "X-Calculation-Id", "X-Exact")
TEXT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The calculation; with `Accept: text/plain` the bare digits, which `Range` may ask for in part.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "354224848179261915075"}},
        "headers": headers("ETag", "Repr-Digest", "Accept-Ranges", "Vary", *_OF_EACH),
    },
    206: {
        "description": "A range of the bare digits.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "3542"}},
        "headers": headers("ETag", "Repr-Digest", "Accept-Ranges", "Content-Range", "Vary", *_OF_EACH),
    },
    304: {
        "description": "The client's copy of the bare digits (`If-None-Match`) is good; recorded all the same.",
        "headers": headers("ETag", "Vary", *_OF_EACH),
    },
    **responses("precondition-failed", "range-not-satisfiable"),
    414: {"description": "The path is longer than the server reads. There is no body; nothing was recorded."},
    431: {"description": "Header values over 32 KiB, or too many fields. There is no body; nothing was recorded."},
}

# The OpenAPI entry of the response to a calculation by POST.
POSTED_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The calculation; with `Accept: text/plain` the bare result.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
        "headers": headers("Repr-Digest", "Vary", REPLAYED, *_OF_EACH),
    }
}


class PendingAnswer(NamedTuple):
    """An answer that is still to be computed, and the facts that are known about it already."""

    calculate: Callable[..., Coroutine[Any, Any, Answer]]  # takes ``unchanged`` and ``measure`` of Calculator.calculate
    digits: int  # the size of the result, or an upper estimate
    seconds: float  # the estimated cost of the calculation
    text: bool  # bare digits, not JSON
    etags: Sequence[str] = ()  # of the bare digits; none for JSON, and in the response to a POST
    created: bool = False  # respond with 201 and the calculation's path


def calculated_response(caller: Principal, respond_with: ASGIApp, reservations: ExitStack | None = None) -> Response:
    """Return a response that is calculated when it is sent, so that a disconnect of the client can stop the work.

    When the response is sent, it takes a calculation slot for ``caller`` and then calls ``respond_with``. If no slot is
    free, it raises Overloaded. ``respond_with`` must raise its errors before it sends anything. ``reservations`` are
    closed once the response has been sent or has failed.
    """

    async def take_slot_and_respond(scope: Scope, receive: Receive, send: Send) -> None:
        with reservations or ExitStack():
            slot = resources_of(scope).calculator.slots.acquire(caller.user_id)
            context_of(scope).release_slot = slot.release
            await respond_with(scope, receive, send)

    return DeferredResponse(take_slot_and_respond)


async def posted(
    request: Request,
    caller: Principal,
    resources: Resources,
    read: Callable[[bytes], Calculation],
    *,
    created: bool = False,
) -> Response:
    """Return the response to a POST whose body is a calculation. The caller's rate limits count the calculation.

    ``read`` must return the calculation in a body, or raise InvalidInput. If ``created`` is set, the status is 201, and
    the JSON pointers to operands in errors begin with ``/input``. Rate limits are checked before the body is read.
    Raises InvalidInput, RateLimited, Overloaded, and the errors of RequestBody.
    """
    name = key_name(request)
    await require_remaining(caller, resources)
    with resources.long_bodies.acquire(caller.user_id, 1 + most_bytes_of_body(request.scope) // _BODY_SLOT_BYTES):
        body = await request.body()
        calculation = read(body)
    keyed = None if name is None else await keyed_request(request, caller, name, body)

    async def respond_to_post(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await calculate_and_respond(scope, receive, send, caller, calculation, keyed, created=created)
        except InvalidInput as error:
            raise into_input(error, calculation[0]) if created else error from None

    with ExitStack() as reservations:
        if len(body) > UNCOUNTED_BYTES:
            reservations.enter_context(resources.response_memory.acquire(caller.user_id, _COPIES * len(body)))
        await spend(request.scope, caller, resources)
        return calculated_response(caller, respond_to_post, reservations.pop_all())


def rate_limits_of(caller: Principal, resources: Resources) -> list[tuple[CalculationRateLimit, bytes]]:
    """Return the caller's rate limits, each with the id under which the caller's calculations are counted."""
    found = [(resources.calculation_limit_of(caller.limits.rate_limit), caller.user_id)]
    if caller.key is not None:
        # First, so that a request beyond the key's limit does not count towards the owner's.
        found.insert(0, (resources.key_limit_of(caller.key.limits.rate_limit), caller.key.user_id))
    return [(limit, identity) for limit, identity in found if limit is not None]


async def require_remaining(caller: Principal, resources: Resources) -> None:
    """Raise RateLimited if one of the caller's rate limits is used up. Call this before reading a request's body.

    This may count a block of calculations in advance, but uses up no calculation; ``spend`` does.
    """
    for limit, identity in rate_limits_of(caller, resources):
        await limit.require_remaining(identity)


async def spend(scope: Scope, caller: Principal, resources: Resources, operations: int = 1) -> None:
    """Count ``operations`` calculations towards each of the caller's rate limits.

    Raises RateLimited if they would exceed a limit, which then counts none of them. Calculations that only the limit
    of a key's owner refuses count towards the key's limit.
    """
    context = context_of(scope)
    for limit, identity in rate_limits_of(caller, resources):
        ahead = limit.spend_ahead(identity) if operations == 1 else None
        context.limits += ahead or await limit.spend(identity, operations)


async def calculate_and_respond(
    scope: Scope,
    receive: Receive,
    send: Send,
    caller: Principal,
    calculation: Calculation,
    keyed: KeyedRequest | None = None,
    *,
    created: bool = False,
    form: str | None = None,
) -> int:
    """Calculate, send the response and return its status. Errors are raised before anything is sent.

    If ``keyed`` is given, the calculation is recorded only once for its idempotency key. If ``created`` is set, the
    status is 201. If ``form``, the query parameter ``format``, is not None, it replaces the Accept field. The response
    to a POST has no ETag and no ranges, because it does not represent the resource at the request's path.
    """
    resources = resources_of(scope)
    conditions = conditions_of(scope)
    if form is not None:
        conditions = conditions._replace(accept=accept_of(form, summary=calculation[2].summary))
    client = Client(receive)
    validated = scope["method"] == "GET"
    began = context_of(scope).arrived if validated else perf_counter()  # a client may send a body slowly
    try:
        plan = await plan_of(scope, caller, calculation, client)
        calculate = partial(resources.calculator.calculate, caller, plan, began)
        if not validated:
            conditions = conditions._replace(range="", if_match="", if_range="", if_none_match="")
            if keyed is not None:
                send = with_headers(keyed.fields, send)
                calculate = partial(_calculate_once, resources.calculator, caller, plan, began, keyed)
        may_be_text = conditions.accept not in ("", "*/*", JSON) and plan.task.view != "summary"  # which has no digits
        text = may_be_text and preferred(conditions.accept, (JSON, TEXT)) == TEXT
        etags = etags_of(plan.key, resources.etag_key) if text and validated else ()
        pending = PendingAnswer(calculate, plan.digits, plan.seconds, text, etags, created)
        return await respond(scope, caller, client, conditions, pending, send)
    finally:
        client.let_go()


async def _calculate_once(
    calculator: Calculator,
    caller: Principal,
    plan: Plan,
    began: float,
    keyed: KeyedRequest,
    *,
    unchanged: bool,
    measure: Measure | None,
) -> Answer:
    """Return the recorded answer to a request with an idempotency key. If there is none yet, calculate and record."""
    calculate = partial(calculator.calculate, caller, plan, began, unchanged=unchanged, measure=measure, key=keyed.key)
    return await keyed.once(calculate, lambda found: calculator.answer_again(caller, found.rows[0], plan, measure))


async def plan_of(scope: Scope, caller: Principal, calculation: Calculation, client: Client | None) -> Plan:
    """Return the Plan of a calculation, which has its parsed operands and its estimated cost.

    The request's calculation slot is released if a worker process has to create the plan or to compute the result.
    Raises the errors of ``Calculator.plan``, and ClientGone if ``client`` disconnects. If ``client`` is None,
    disconnects are not detected here.
    """
    calculator, context = resources_of(scope).calculator, context_of(scope)
    plan = calculator.planned(calculation)
    if plan is None:
        planning = calculator.plan(caller, calculation)
        if is_short(*calculation):
            plan = await planning
        else:
            context.release_slot()
            plan = await (planning if client is None else client.while_there(planning))
    if plan.seconds > INLINE_SECONDS:
        context.release_slot()
    return plan


async def respond(
    scope: Scope, caller: Principal, client: Client, conditions: RequestConditions, pending: PendingAnswer, send: Send
) -> int:
    """Calculate, send the response and return its status.

    Memory for a long result is reserved before the calculation. Raises PreconditionFailed, RangeNotSatisfiable,
    Overloaded, and the errors of the calculation. Raises ClientGone if the client disconnects, and ClientTooSlow if it
    reads a long result too slowly.
    """
    resources, context = resources_of(scope), context_of(scope)
    calculate, digits, seconds, _, etags, _ = pending
    if conditions.if_match and not is_current(conditions.if_match, etags):
        raise PreconditionFailed(
            "If-Match names no current ETag: send no If-Match. The JSON form has no ETag: "
            "send Accept: text/plain with an ETag of the bare digits."
        )
    etag, unchanged = None, False
    if conditions.if_none_match:
        etag = matching(conditions.if_none_match, etags)
        unchanged = etag is not None or conditions.if_none_match == "*"
    measure = measure_of(conditions, etags, unchanged=unchanged)
    memory = None
    if digits > UNCOUNTED_BYTES and not unchanged:
        memory = resources.response_memory.acquire(caller.user_id, digits)
    try:
        calculation = calculate(unchanged=unchanged, measure=measure)
        answer = await (calculation if seconds <= INLINE_SECONDS else client.while_there(calculation))
        context.release_slot()
        fields = rate_limit_fields(context.limits, resources.quotas.members(caller))
        if unchanged:
            return await send_not_modified(etag, answer, fields, send)
        if len(answer.result.text) <= WHOLE or not conditions.content:
            return await _sent(answer, pending, conditions, fields, send)
        send = throttled(in_time(send, resources.reading_speed), resources.computer.scheduler)
        return await client.while_there(_sent(answer, pending, conditions, fields, send))
    finally:
        if memory is not None:
            memory.release()


def _sent(
    answer: Answer, pending: PendingAnswer, conditions: RequestConditions, fields: list[Header], send: Send
) -> Coroutine[Any, Any, int]:
    status = 200
    if pending.created:
        fields.append((b"location", b"/calculations/%b" % answer.id.encode()))
        status = 201
    if pending.text:
        return send_text(pending.etags, answer, conditions, fields, send, status=status)
    return send_json(answer, conditions, fields, send, status=status)
