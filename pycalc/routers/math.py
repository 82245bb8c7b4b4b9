"""The calculation routes, one for each operation of the registry.

FastAPI documents these routes, but their handler is plain ASGI. FastAPI's own handling of a request would cost more
than a cached calculation (ADR 7).
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

from fastapi import APIRouter, Path, Query, Security
from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.types import Receive, Scope, Send

from pycalc.models.auth import KeyScope
from pycalc.observability.requests import context_of
from pycalc.routers.http.calculations import CALCULATION_PROBLEMS, TEXT_RESPONSES, calculate_and_respond, spend
from pycalc.routers.http.deps import BEARER, caller_of, resources_of
from pycalc.routers.http.inputs import query_of
from pycalc.routers.http.openapi import json_content, operation_id
from pycalc.services.calculations.planning import (
    DEFAULT_OPTIONS,
    DEFAULT_PRECISION,
    MAX_PRECISION,
    options_of,
    options_with_meanings,
)
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.base import Operation
from pycalc.services.operations.numbers.literals import INTEGER, MAX_LITERAL, NATURAL, RATIONAL
from pycalc.services.operations.radix import DECIMAL, LARGEST, SMALLEST

# A natural number above 0, in the forms of NATURAL.
_POSITIVE = (
    "(?:0[xX](?:0_?)*[1-9a-fA-F](?:_?[0-9a-fA-F])*|0[bB](?:0_?)*1(?:_?[01])*|"
    "(?:0_?)*[1-9](?:_?[0-9])*(?:[eE][+]?[0-9]+)?)"
)
_FORMS = {"natural": NATURAL.pattern, "positive": _POSITIVE, "integer": INTEGER.pattern, "rational": RATIONAL.pattern}

# The types and limits of the query parameters.
_OPTIONS: dict[str, tuple[object, dict[str, Any]]] = {
    "mod": (str | None, {"default": None, "max_length": MAX_LITERAL, "pattern": f"^{_POSITIVE}$", "examples": ["97"]}),
    "view": (Literal["full", "summary"], {"default": "full"}),
    "precision": (int, {"default": DEFAULT_PRECISION, "ge": 1, "le": MAX_PRECISION}),
    "base": (int, {"default": DECIMAL, "ge": SMALLEST, "le": LARGEST}),
    "format": (Literal["json", "text"], {"default": "json"}),
}
_FORMAT = "the representation, in place of `Accept`: `text` is the bare digits, for programs such as spreadsheets"


class _Segment(StringConvertor):
    """A path segment that may be empty, so that an empty operand is invalid input instead of an unknown path."""

    regex = "[^/]*"


register_url_convertor("segment", _Segment())


class CalculationRoute(APIRoute):
    """A route that FastAPI documents, but whose requests are handled as plain ASGI."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request that Application has not matched: below a root path, or with a method other than GET."""
        if scope["method"] in (self.methods or ()):
            await self.answer(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Authenticate, calculate, respond and return the status. Errors are raised before anything is sent."""
        resources = resources_of(scope)
        context = context_of(scope)
        caller = await caller_of(scope, resources, KeyScope.CALCULATE)
        limit = resources.calculation_limit_of(caller.limits.rate_limit)
        if caller.key is not None:
            await spend(scope, caller, resources)
        elif limit is not None:
            context.limits = limit.spend_ahead(caller.user_id) or await limit.spend(caller.user_id)
        options, form = DEFAULT_OPTIONS, None
        if query := scope["query_string"]:
            given = query_of(query)
            form = given.pop("format", None)
            options = options_of(OPERATIONS[self.name], given)
        request = (self.name, tuple(scope["path_params"].values()), options)
        return await calculate_and_respond(scope, receive, send, caller, request, form=form)


def _documented(operation: Operation[Any]) -> Any:
    """Return an endpoint with the operation's parameters, which FastAPI documents and never calls."""

    async def endpoint(**operands: str) -> None:
        raise NotImplementedError

    fields: dict[str, tuple[object, object]] = {}
    for operand in operation.parameters:
        limits: Any = {"max_length": operand.longest, "pattern": f"^{_FORMS[operand.kind]}$"}
        fields[operand.name] = str, Path(description=operand.description, examples=[operand.example], **limits)
    for name, meaning in {**options_with_meanings(operation), "format": _FORMAT}.items():
        kind, limits = _OPTIONS[name]
        fields[name] = kind, Query(description=meaning, **limits)
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=field)
        for name, (kind, field) in fields.items()
    ]
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    endpoint.__doc__ = operation.description
    return endpoint


_RESPONSES = {
    **TEXT_RESPONSES,
    200: {**TEXT_RESPONSES[200], "content": {**json_content("CalculationResult"), **TEXT_RESPONSES[200]["content"]}},
    **CALCULATION_PROBLEMS,
}

router = APIRouter(tags=["calculations"], generate_unique_id_function=operation_id)
for _operation in OPERATIONS.values():
    _segments = [f"{{{_parameter.name}:segment}}" for _parameter in _operation.parameters]
    router.add_api_route(
        "/".join((f"/{_operation.name}", *_segments)),
        _documented(_operation),
        name=_operation.name,
        summary=_operation.title,
        methods=["GET"],
        responses=_RESPONSES,
        dependencies=[Security(BEARER, scopes=[KeyScope.CALCULATE])],
        route_class_override=CalculationRoute,
    )
