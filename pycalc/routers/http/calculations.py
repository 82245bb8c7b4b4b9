"""The response to one calculation, in the representation that the client prefers."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from pycalc.errors import PreconditionFailed
from pycalc.models.auth import Principal
from pycalc.observability.requests import RequestContext, context_of
from pycalc.resources.wiring import Resources
from pycalc.routers.http.connection import Client, ClientGone
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.negotiation import ANY, byte_range, conditions_of, is_current, matching
from pycalc.routers.http.openapi import headers
from pycalc.routers.http.problems import CLIENT_GONE
from pycalc.routers.http.representations import (
    WHOLE,
    etags_of,
    send_json,
    send_not_modified,
    send_text,
    throttled,
    wants_text,
)
from pycalc.routers.http.sending import ClientTooSlow, count_cut, in_time
from pycalc.services.calculations.planning import Request, is_short
from pycalc.services.compute.computer import INLINE_SECONDS
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.responses import UNCOUNTED_BYTES

_OTHER_VERSION = (
    "If-Match names no current ETag of the result: send no If-Match. The JSON form has no ETag: "
    "send Accept: text/plain with an ETag of the bare digits."
)
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
    414: {"description": "The path is longer than the server reads. There is no body; nothing was recorded."},
    431: {"description": "The header fields are longer than the server reads. There is no body; nothing was recorded."},
}

# The form of a calculation that was asked for by POST.
POSTED_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The calculation; with `Accept: text/plain` the bare result.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "78655220000000000001"}},
        "headers": headers("Repr-Digest", "Vary", *_OF_EACH),
    }
}


async def calculate_and_respond(
    scope: Scope, receive: Receive, send: Send, caller: Principal, calculation: Request
) -> int:
    """Plan and calculate, and send the response; return the status. Errors are raised before anything is sent."""
    resources, context = resources_of(scope), context_of(scope)
    client = Client(receive)
    try:
        plan = resources.calculator.planned(calculation)
        if plan is None:
            planning = resources.calculator.plan(caller, calculation)
            if is_short(*calculation):
                plan = await planning
            else:  # a worker plans: others may use the slot meanwhile
                context.release_slot()
                plan = await client.while_there(planning)
        if plan.seconds > INLINE_SECONDS:
            context.release_slot()
        return await _respond(scope, resources, context, caller, plan, client, send)
    finally:
        client.let_go()


async def _respond(
    scope: Scope,
    resources: Resources,
    context: RequestContext,
    caller: Principal,
    plan: Plan,
    client: Client,
    send: Send,
) -> int:
    """Calculate and send the response; return the status. Memory for a long result is acquired before it is made.

    The response to a POST is no representation of the resource that it was sent to: it has no ETag and no ranges.
    """
    conditions = conditions_of(scope)
    validated = scope["method"] == "GET"
    if not validated:
        conditions = conditions._replace(range="", if_match="", if_range="", if_none_match="")
    text = wants_text(plan, conditions)
    etags = etags_of(plan, resources.etag_key) if text and validated else ()
    if conditions.if_match and not is_current(conditions.if_match, etags):
        raise PreconditionFailed(_OTHER_VERSION)
    etag, held = None, False
    if conditions.if_none_match:
        etag = matching(conditions.if_none_match, etags)
        held = etag is not None or conditions.if_none_match == ANY
    # A range is checked before the calculation is recorded.
    ranged = text and conditions.range and not held
    check = (lambda result: byte_range(conditions, etags[0], len(result.text))) if ranged else None
    memory = None
    if plan.digits > UNCOUNTED_BYTES and not held:
        memory = resources.response_memory.acquire(caller.user_id, plan.digits)
    try:
        calculation = resources.calculator.calculate(caller, plan, context.arrived, held=held, check=check)
        answer = await (calculation if plan.seconds <= INLINE_SECONDS else client.while_there(calculation))
        context.release_slot()
        if held:
            return await send_not_modified(etag, answer, send)
        if len(answer.result.text) <= WHOLE or not conditions.content:
            return await (send_text(etags, answer, conditions, send) if text else send_json(answer, conditions, send))
        send = throttled(in_time(send, resources.reading_speed), resources.computer.scheduler)
        sending = send_text(etags, answer, conditions, send) if text else send_json(answer, conditions, send)
        try:
            return await client.while_there(sending)
        except ClientTooSlow:
            count_cut(resources, scope)
            return CLIENT_GONE
        except ClientGone:
            return CLIENT_GONE
    finally:
        if memory is not None:
            memory.release()
