"""The calculation routes, one for each operation of the registry (ADR 7).

They are FastAPI routes, and documented as such, with a handler that speaks ASGI: nothing is validated twice, and what
this service made itself is not validated at all.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Security
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Receive, Scope, Send

from pycalc.errors import PreconditionFailed
from pycalc.models.auth import Principal
from pycalc.models.math import CalculationResult
from pycalc.models.results import Result
from pycalc.resources.wiring import Resources
from pycalc.routers.http.connection import Client, ClientGone
from pycalc.routers.http.deps import ARRIVED, BEARER, caller_of, release_slot, resources_of
from pycalc.routers.http.headers import telling_quota
from pycalc.routers.http.inputs import query_of
from pycalc.routers.http.negotiation import ANY, asked_of, is_current, matching
from pycalc.routers.http.openapi import headers, operation_id
from pycalc.routers.http.problems import CLIENT_GONE, responses
from pycalc.routers.http.representations import (
    WHOLE,
    etags_of,
    paced,
    range_of,
    send_json,
    send_not_modified,
    send_text,
    wants_text,
)
from pycalc.routers.http.sending import ClientTooSlow, count_cut, in_time
from pycalc.services.calculations.calculator import Answer
from pycalc.services.calculations.planning import (
    DEFAULT_OPTIONS,
    DEFAULT_PRECISION,
    MAX_PRECISION,
    Request,
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
    "The result is none of the versions that If-Match names; ask without it. The JSON form has no ETag: "
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
        "headers": headers("ETag", "Repr-Digest", "Content-Range", "Vary", *_OF_EACH),
    },
    304: {
        "description": "The client's copy of the bare digits (`If-None-Match`) is good; recorded all the same.",
        "headers": headers("ETag", "Vary", "X-Calculation-Id", "X-Exact"),
    },
    414: {"description": "The path is longer than the server reads. There is no body; nothing was recorded."},
    431: {"description": "The header fields are longer than the server reads. There is no body; nothing was recorded."},
}


_PATTERNS = {"natural": f"^{NATURAL.pattern}$", "decimal": f"^{DECIMAL.pattern}$"}


class _Segment(Convertor[str]):
    """A path segment that may be empty: an empty operand is invalid input, not an unknown path."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("segment", _Segment())


class CalculationRoute(APIRoute):
    """A documented FastAPI route whose request is handled without the framework's per-request machinery."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what the framework passes on: it finds a calculation only by another method than its own."""
        if scope["method"] in (self.methods or ()):
            await self.answer(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Authenticate, plan, calculate, answer; return the status. Errors are raised before anything is sent."""
        resources = resources_of(scope)
        caller = await caller_of(scope, resources)
        if resources.calculation_limit is not None:
            quota = scope["quota"] = await resources.calculation_limit.spend(caller.user_id)
            send = telling_quota(quota, send)
        query = scope["query_string"]
        options = DEFAULT_OPTIONS
        if query:
            options = options_of(OPERATIONS[self.name], query_of(query))
        request = (self.name, tuple(scope["path_params"].values()), options)
        client = Client(receive)
        try:
            plan = await _planned(resources, caller, request, scope, client)
            return await _respond(resources, scope, caller, plan, client, send)
        finally:
            client.let_go()


async def _planned(resources: Resources, caller: Principal, request: Request, scope: Scope, client: Client) -> Plan:
    """Return a calculation's plan; give the request's slot back before a worker is needed, to plan or to compute."""
    plan = resources.calculator.planned(request)
    if plan is None:
        planning = resources.calculator.plan(caller, request)
        if is_short(*request):
            plan = await planning
        else:
            release_slot(scope)
            plan = await client.while_there(planning)
    if plan.seconds > INLINE_SECONDS:
        release_slot(scope)
    return plan


async def _respond(
    resources: Resources, scope: Scope, caller: Principal, plan: Plan, client: Client, send: Send
) -> int:
    """Calculate and send the answer; return the status. A long result's memory counts from before it is made."""
    asked = asked_of(scope)
    text = wants_text(plan, asked)
    etags = etags_of(plan, resources.etag_key) if text else ()
    if asked.if_match and not is_current(asked.if_match, etags):
        raise PreconditionFailed(_OTHER_VERSION)
    if asked.if_none_match and ((etag := matching(asked.if_none_match, etags)) or asked.if_none_match == ANY):
        answer = await _calculate(resources, scope, caller, plan, client, held=True)
        return await send_not_modified(etag, answer, send)
    check = partial(range_of, etag=etags[0], asked=asked) if text and asked.range else None
    memory = resources.response_memory.acquire(caller.user_id, plan.digits) if plan.digits > UNCOUNTED_BYTES else None
    try:
        answer = await _calculate(resources, scope, caller, plan, client, check=check)
        release_slot(scope)
        if len(answer.result.text) <= WHOLE or not asked.content:
            return await (send_text(etags, answer, asked, send) if text else send_json(answer, asked, send))
        send = paced(in_time(send, resources.pace), resources.computer.scheduler)
        sending = send_text(etags, answer, asked, send) if text else send_json(answer, asked, send)
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


def _calculate(
    resources: Resources,
    scope: Scope,
    caller: Principal,
    plan: Plan,
    client: Client,
    *,
    held: bool = False,
    check: Callable[[Result], object] | None = None,
) -> Awaitable[Answer]:
    """Return what the answer is to be awaited from; what takes longer is stopped when the client hangs up."""
    answer = resources.calculator.calculate(caller, plan, scope[ARRIVED], held=held, check=check)
    return answer if plan.seconds <= INLINE_SECONDS else client.while_there(answer)


def _documented(operation: Operation[Any]) -> Any:
    """Return the endpoint whose signature is the operation's parameters: FastAPI documents it and never calls it."""

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
