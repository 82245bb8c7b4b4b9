"""The calculation routes, one for each operation of the registry (ADR 7).

They are FastAPI routes, and documented as such, with a handler that speaks ASGI: nothing is validated twice, and what
this service made itself is not validated at all.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Query, Security
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Receive, Scope, Send

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.math import Calculation
from pycalc.routers.deps import BEARER, caller_of, resources_of
from pycalc.routers.headers import SECURITY_HEADERS
from pycalc.routers.problems import responses
from pycalc.services.math import DEFAULT_PRECISION, MAX_PRECISION, Answer
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Operation, Parameter

_SLICE = 256 * 1024
"""Long results go to the socket in slices of this many bytes, so that a slow reader holds no more than one."""
_ERRORS = (
    "validation-error",
    "domain-error",
    "result-too-large",
    "unauthorized",
    "computation-timeout",
    "overloaded",
    "unavailable",
)


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
        """Authenticate, plan, calculate, answer; domain errors are raised before anything is sent."""
        if scope["method"] != "GET":
            await super().handle(scope, receive, send)
            return
        resources = resources_of(scope)
        caller = await caller_of(scope, resources)
        query = scope["query_string"]
        precision = _precision(query) if query else DEFAULT_PRECISION
        plan = resources.calculator.plan(self.name, tuple(scope["path_params"].values()), precision)
        answer = await resources.calculator.calculate(caller, plan)
        await _send_json(answer, send)


async def _send_json(answer: Answer, send: Send) -> None:
    """Send a calculation, its result's text as it is: this is the only encoder of calculations."""
    result = answer.result
    before = b'{"id":"%b",%b' % (answer.id.encode(), result.head)
    after = b'%b%b,"elapsed_ms":%.3f}' % (
        result.tail,
        b"true" if answer.cached else b"false",
        answer.elapsed_us / 1000,
    )
    length = len(before) + len(result.text) + len(after)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % length),
                (b"cache-control", b"private, no-store"),
                *SECURITY_HEADERS,
            ],
        }
    )
    if length <= _SLICE:
        await send({"type": "http.response.body", "body": b"%b%b%b" % (before, result.text[:], after)})
        return
    await send({"type": "http.response.body", "body": before, "more_body": True})
    for start in range(0, len(result.text), _SLICE):
        await send({"type": "http.response.body", "body": result.text[start : start + _SLICE], "more_body": True})
    await send({"type": "http.response.body", "body": after})


def _precision(query: bytes) -> int:
    """Return the precision that a query string asks for; raises InvalidInput for anything else in it."""
    precision = DEFAULT_PRECISION
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name != "precision":
            raise _invalid(name, "there is no such parameter")
        if not (value.isascii() and value.isdigit() and len(value) <= 5 and 1 <= int(value) <= MAX_PRECISION):
            raise _invalid(name, f"must be a whole number from 1 to {MAX_PRECISION}")
        precision = int(value)
    return precision


def _invalid(name: str, detail: str) -> InvalidInput:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return InvalidInput("A query parameter is not valid.", (FieldProblem(pointer, detail),))


def _documented(operation: Operation[Any]) -> Any:
    """Return the endpoint whose signature is the operation's parameters: FastAPI documents it and never calls it."""

    async def endpoint(**operands: str) -> None:
        raise NotImplementedError

    def parameter(name: str, annotation: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    parameters = [parameter(operand.name, _annotation(operand)) for operand in operation.parameters]
    if any(operand.kind == "decimal" for operand in operation.parameters):
        described = "significant digits of a result that has no finite exact form"
        annotation = Annotated[int, Query(ge=1, le=MAX_PRECISION, description=described)]
        parameters.append(parameter("precision", annotation, DEFAULT_PRECISION))
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    endpoint.__doc__ = operation.description
    return endpoint


def _annotation(parameter: Parameter) -> object:
    return Annotated[str, Path(description=parameter.description, examples=[parameter.example])]


def _path(operation: Operation[Any]) -> str:
    return f"/{operation.name}/" + "/".join(f"{{{parameter.name}:segment}}" for parameter in operation.parameters)


router = APIRouter(tags=["calculations"])
_add = partial(
    router.add_api_route,
    methods=["GET"],
    response_model=Calculation,
    responses=responses(*_ERRORS),
    dependencies=[Security(BEARER)],
    route_class_override=CalculationRoute,
)
for _operation in OPERATIONS.values():
    _add(_path(_operation), _documented(_operation), name=_operation.name, summary=_operation.title)
