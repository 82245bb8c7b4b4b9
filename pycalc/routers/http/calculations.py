"""Requests for one calculation, and responses in the representation that the client prefers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from pycalc.errors import InvalidInput, PreconditionFailed
from pycalc.models.auth import Principal
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import RequestKey
from pycalc.models.ids import text_of_id
from pycalc.models.results import Facts, Result
from pycalc.observability.requests import context_of
from pycalc.resources.wiring import Resources
from pycalc.routers.http.connection import Client, most_bytes_of_body
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.headers import rate_limit_fields
from pycalc.routers.http.idempotency import REPLAYED, once, request_key
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
from pycalc.services.calculations.calculator import Answer, Measure
from pycalc.services.calculations.planning import Request as Calculation
from pycalc.services.calculations.planning import is_short
from pycalc.services.calculations.requests import into_input
from pycalc.services.compute.computer import INLINE_SECONDS
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.calculation_rate import CalculationRateLimit
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES

_BODY_SLOT_BYTES = 1024 * 1024  # a body takes one slot while it is read, and one more for each MiB
_COPIES = 4  # copies of a body in memory, such as its literals and the message to a worker process
_NO_MEMORY = nullcontext()  # in place of the memory of short bodies and results, which is not counted
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


def take_slot(scope: Scope, caller: Principal) -> None:
    """Take a calculation slot, which the request holds until its end at most. Raises Overloaded if none is free."""
    context_of(scope).release_slot = resources_of(scope).calculator.slots.acquire(caller.user_id).release


async def posted(
    request: Request,
    caller: Principal,
    resources: Resources,
    read: Callable[[bytes], Calculation],
    *,
    created: bool = False,
) -> Response:
    """Return the response to a POST whose body is a calculation, which ``read`` returns.

    If ``created`` is set, the status is 201, and the JSON pointers to operands in errors begin with ``/input``. Raises
    RateLimited, Overloaded, and the errors of ``read`` and of RequestBody.
    """
    await require_remaining(caller, resources)
    with resources.long_bodies.acquire(caller.user_id, 1 + most_bytes_of_body(request.scope) // _BODY_SLOT_BYTES):
        body = await request.body()
        calculation = read(body)
    key = await request_key(request, caller, body)

    async def respond_to_post(scope: Scope, receive: Receive, send: Send) -> None:
        counted = len(body) > UNCOUNTED_BYTES
        memory = resources.response_memory.acquire(caller.user_id, _COPIES * len(body)) if counted else _NO_MEMORY
        with memory:
            await spend(scope, caller, resources)
            take_slot(scope, caller)
            try:
                await calculate_and_respond(scope, receive, send, caller, calculation, key, created=created)
            except InvalidInput as error:
                raise into_input(error, calculation[0]) if created else error from None

    return DeferredResponse(respond_to_post)


def rate_limits_of(caller: Principal, resources: Resources) -> list[tuple[CalculationRateLimit, bytes]]:
    """Return the caller's rate limits, each with the id under which the caller's calculations are counted."""
    found = [(resources.calculation_limit_of(caller.limits.rate_limit), caller.user_id)]
    if caller.key is not None:
        # First, so that a request beyond the key's limit does not count towards the owner's.
        found.insert(0, (resources.key_limit_of(caller.key.limits.rate_limit), caller.key.user_id))
    return [(limit, identity) for limit, identity in found if limit is not None]


async def require_remaining(caller: Principal, resources: Resources) -> None:
    """Raise RateLimited if one of the caller's rate limits is used up. Call this before reading a request's body."""
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
    key: RequestKey | None = None,
    *,
    created: bool = False,
    form: str | None = None,
) -> int:
    """Calculate, send the response and return its status. Errors are raised before anything is sent.

    The calculation is recorded only once for its idempotency key, if a ``key`` is given. If ``created`` is set, the
    status is 201. If ``form``, the query parameter ``format``, is not None, it replaces the Accept field.
    """
    resources, conditions, is_get = resources_of(scope), conditions_of(scope), scope["method"] == "GET"
    if form is not None:
        conditions = conditions._replace(accept=accept_of(form, summary=calculation[2].summary))
    if not is_get:  # the response does not represent the resource at the request's path
        conditions = conditions._replace(range="", if_match="", if_range="", if_none_match="")
    began = context_of(scope).arrived if is_get else perf_counter()  # a client may send a body slowly
    with Client(receive) as client:
        plan = await plan_of(scope, caller, calculation, client)
        calculate = partial(resources.calculator.calculate, caller, plan, began)
        if key is not None:
            calculate = partial(_calculate_once, scope, caller, plan, calculate, key)
        may_be_text = conditions.accept not in ("", "*/*", JSON) and plan.task.view != "summary"  # which has no digits
        text = may_be_text and preferred(conditions.accept, (JSON, TEXT)) == TEXT
        etags = etags_of(plan.key, resources.etag_key) if text and is_get else ()
        pending = PendingAnswer(calculate, plan.digits, plan.seconds, text, etags, created)
        return await respond(scope, caller, client, conditions, pending, send)


async def _calculate_once(
    scope: Scope,
    caller: Principal,
    plan: Plan,
    calculate: Callable[..., Coroutine[Any, Any, Answer]],
    key: RequestKey,
    **options: Any,  # of ``calculate``
) -> Answer:
    """Return the recorded answer to a request with an idempotency key. If there is none yet, calculate and record."""
    again = resources_of(scope).calculator.answer_again
    return await once(
        scope, key, partial(calculate, key=key, **options), lambda found: again(caller, found.rows[0], plan)
    )


async def plan_of(scope: Scope, caller: Principal, calculation: Calculation, client: Client | None) -> Plan:
    """Return the plan of a calculation. Release the request's slot if a worker process makes the plan or the result.

    Raises the errors of ``Calculator.plan``, and ClientGone if the client disconnects, unless ``client`` is None.
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
    Overloaded, ClientGone, ClientTooSlow, and the errors of the calculation.
    """
    resources, context = resources_of(scope), context_of(scope)
    calculate, digits, seconds, text, etags, created = pending
    if conditions.if_match and not is_current(conditions.if_match, etags):
        raise PreconditionFailed(
            "If-Match names no current ETag: send no If-Match. The JSON form has no ETag: "
            "send Accept: text/plain with an ETag of the bare digits."
        )
    etag = matching(conditions.if_none_match, etags) if conditions.if_none_match else None
    unchanged = etag is not None or conditions.if_none_match == "*"
    measure = measure_of(conditions, etags, unchanged=unchanged)
    counted = digits > UNCOUNTED_BYTES and not unchanged
    memory = resources.response_memory.acquire(caller.user_id, digits) if counted else None
    try:
        calculation = calculate(unchanged=unchanged, measure=measure)
        answer = await (calculation if seconds <= INLINE_SECONDS else client.while_there(calculation))
        context.release_slot()
        fields = rate_limit_fields(context.limits, resources.quotas.members(caller))
        fields += context.fields
        if unchanged:
            return await send_not_modified(etag, answer, fields, send)
        if created:
            fields.append((b"location", b"/calculations/%b" % answer.id.encode()))
        whole = len(answer.result.text) <= WHOLE or not conditions.content
        if not whole:
            send = throttled(in_time(send, resources.reading_speed), resources.computer.scheduler)
        status = 201 if created else 200
        if text:
            sending = send_text(etags, answer, conditions, fields, send, status=status)
        else:
            sending = send_json(answer, conditions, fields, send, status=status)
        return await (sending if whole else client.while_there(sending))
    finally:
        if memory is not None:
            memory.release()


async def recorded_answer(
    scope: Scope, caller: Principal, row: HistoryRow, asked: Calculation | None, client: Client | None
) -> PendingAnswer:
    """Return a PendingAnswer that has the digits of a recorded calculation.

    Digits that ``row`` lacks come from the cache or, if it is known, from the original request, ``asked``. Raises the
    errors of ``plan_of``.
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
