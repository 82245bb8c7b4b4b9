"""The calculation routes, one for each operation of the registry.

FastAPI documents them, but their handler is plain ASGI: FastAPI's own handling of a request would cost more than a
cached calculation (ADR 7).
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Security
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Receive, Scope, Send

from pycalc.errors import PreconditionFailed
from pycalc.models.auth import Principal
from pycalc.models.math import CalculationResult
from pycalc.observability.requests import RequestContext, context_of
from pycalc.resources.wiring import Resources
from pycalc.routers.http.connection import Client, ClientGone
from pycalc.routers.http.deps import BEARER, caller_of, resources_of
from pycalc.routers.http.headers import with_quota
from pycalc.routers.http.inputs import query_of
from pycalc.routers.http.negotiation import ANY, conditions_of, is_current, matching
from pycalc.routers.http.openapi import headers, operation_id
from pycalc.routers.http.problems import CLIENT_GONE, responses
from pycalc.routers.http.representations import (
    WHOLE,
    etags_of,
    range_of,
    send_json,
    send_not_modified,
    send_text,
    throttled,
    wants_text,
)
from pycalc.routers.http.sending import ClientTooSlow, count_cut, in_time
from pycalc.services.calculations.planning import (
    DEFAULT_OPTIONS,
    DEFAULT_PRECISION,
    MAX_PRECISION,
    is_short,
    options_of,
    takes_precision,
)
from pycalc.services.compute.computer import INLINE_SECONDS
from pycalc.services.compute.plan import Plan
from pycalc.services.limits.responses import UNCOUNTED_BYTES
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Operation, Parameter
from pycalc.services.operations.numbers.literals import DECIMAL, MAX_LITERAL, NATURAL

_ERRORS = (
    "validation-error",
    "domain-error",
    "result-too-large",
    "precondition-failed",
    "range-not-satisfiable",
    "unauthorized",
    "rate-limited",
    "computation-timeout",
    "overloaded",
    "unavailable",
)
_OTHER_VERSION = (
    "If-Match names no current ETag of the result: send no If-Match. The JSON form has no ETag: "
    "send Accept: text/plain with an ETag of the bare digits."
)
_OF_EACH = ("RateLimit", "RateLimit-Policy", "X-Calculation-Id", "X-Exact")
_TEXT: dict[int | str, dict[str, Any]] = {
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
}


_PATTERNS = {"natural": f"^{NATURAL.pattern}$", "decimal": f"^{DECIMAL.pattern}$"}


class _Segment(Convertor[str]):
    """A path segment that may be empty, so that an empty operand is invalid input instead of an unknown path."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("segment", _Segment())


class CalculationRoute(APIRoute):
    """A FastAPI route that is documented by FastAPI and handles its requests as plain ASGI."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request that the framework routed here: one below a root path, or with a method that is refused."""
        if scope["method"] in (self.methods or ()):
            await self.answer(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Authenticate, plan, calculate and respond; return the status. Errors are raised before anything is sent."""
        resources = resources_of(scope)
        context = context_of(scope)
        caller = await caller_of(scope, resources)
        if resources.calculation_limit is not None:
            context.quota = await resources.calculation_limit.spend(caller.user_id)
            send = with_quota(context.quota, send)
        query = scope["query_string"]
        options = options_of(OPERATIONS[self.name], query_of(query)) if query else DEFAULT_OPTIONS
        request = (self.name, tuple(scope["path_params"].values()), options)
        client = Client(receive)
        try:
            plan = resources.calculator.planned(request)
            if plan is None:
                planning = resources.calculator.plan(caller, request)
                if is_short(*request):
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
    """Calculate and send the response; return the status. Memory for a long result is acquired before it is made."""
    conditions = conditions_of(scope)
    text = wants_text(plan, conditions)
    etags = etags_of(plan, resources.etag_key) if text else ()
    if conditions.if_match and not is_current(conditions.if_match, etags):
        raise PreconditionFailed(_OTHER_VERSION)
    etag, held = None, False
    if conditions.if_none_match:
        etag = matching(conditions.if_none_match, etags)
        held = etag is not None or conditions.if_none_match == ANY
    check = partial(range_of, etag=etags[0], conditions=conditions) if text and conditions.range and not held else None
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


def _documented(operation: Operation[Any]) -> Any:
    """Return an endpoint with the operation's parameters; FastAPI documents the endpoint and never calls it."""

    async def endpoint(**operands: str) -> None:
        raise NotImplementedError

    def parameter(name: str, annotation: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    parameters = [parameter(operand.name, _annotation(operand)) for operand in operation.parameters]
    described = "the result modulo this whole number, for operands far beyond what could be written out"
    limits: Any = {"max_length": MAX_LITERAL, "pattern": "^0*[1-9][0-9]*$"}
    modulus = Annotated[str | None, Query(description=described, examples=["97"], **limits)]
    parameters.append(parameter("mod", modulus, None))
    described = "`summary`: the result's size and ends instead of the result, without computing it"
    parameters.append(parameter("view", Annotated[Literal["full", "summary"], Query(description=described)], "full"))
    if takes_precision(operation):
        described = "significant digits of a result that has no finite exact form"
        annotation = Annotated[int, Query(ge=1, le=MAX_PRECISION, description=described)]
        parameters.append(parameter("precision", annotation, DEFAULT_PRECISION))
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    endpoint.__doc__ = operation.description
    return endpoint


def _annotation(parameter: Parameter) -> object:
    limits: Any = {"max_length": MAX_LITERAL, "pattern": _PATTERNS[parameter.kind]}
    return Annotated[str, Path(description=parameter.description, examples=[parameter.example], **limits)]


def _path(operation: Operation[Any]) -> str:
    return f"/{operation.name}/" + "/".join(f"{{{parameter.name}:segment}}" for parameter in operation.parameters)


router = APIRouter(tags=["calculations"], generate_unique_id_function=operation_id)
_add = partial(
    router.add_api_route,
    methods=["GET"],
    response_model=CalculationResult,
    responses={**_TEXT, **responses(*_ERRORS)},
    dependencies=[Security(BEARER)],
    route_class_override=CalculationRoute,
)
for _operation in OPERATIONS.values():
    _add(_path(_operation), _documented(_operation), name=_operation.name, summary=_operation.title)
