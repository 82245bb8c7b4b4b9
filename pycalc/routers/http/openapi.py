"""Additions to FastAPI's OpenAPI document, so that code generators and other tools can use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from pycalc.models.auth import KeyScope
from pycalc.models.history import HistoryItem
from pycalc.models.math import Batch, CalculationRequest, Evaluation
from pycalc.models.problems import PROBLEM_MEDIA_TYPE, Problem
from pycalc.routers.http.deps import BEARER
from pycalc.routers.http.examples import CALCULATED, digits_of, example_of
from pycalc.routers.http.problem_types import responses
from pycalc.services.operations import CALCULATIONS, OPERATIONS

SCHEMAS = "#/components/schemas/"
SERVERS = [{"url": "/", "description": "The service that this document comes from."}]
TAGS = [
    {"name": "calculations", "description": "Exact results, one at a time or in batches."},
    {"name": "accounts", "description": "Registration, sessions, API keys; the accounts of others for admins."},
    {"name": "history", "description": "Recorded calculations, usage totals, live events."},
    {"name": "admin", "description": "The audit log, dead letters and the state of the service, for admins."},
    {"name": "service", "description": "Health and metrics. These routes need no token."},
]
# Header fields of responses, with their descriptions.
HEADERS = {
    "Accept": "The media types of bodies that the route takes (RFC 9110 section 15.5.16).",
    "Accept-Encoding": "The content codings of bodies that the route takes.",
    "Accept-Ranges": "`bytes`: a `Range` may be asked for.",
    "Allow": "The methods that the path has.",
    "Content-Range": "The range that is sent, or the length where none can be (RFC 9110).",
    "ETag": "The validator of this representation, for `If-Match`, `If-None-Match`, `If-Range`.",
    "Idempotency-Replayed": "`true` if the answer repeats that of an earlier request with this key; else absent.",
    "Link": 'The next page, `rel="next"` (RFC 8288); absent on the last.',
    "Location": "The resource that was made.",
    "RateLimit": "What is left of each rate limit, and of the quotas `compute` (seconds) and `digits` (bytes).",
    "RateLimit-Policy": "The limits, in the order of `RateLimit` (draft-ietf-httpapi-ratelimit-headers).",
    "Repr-Digest": "SHA-256 of all the digits, also with a range of them; absent if they are compressed (RFC 9530).",
    "Retry-After": "Seconds to wait before the next try.",
    "Set-Cookie": "Sets or deletes a cookie of the browser.",
    "Vary": "The header fields of a request that choose the representation.",
    "WWW-Authenticate": "The scheme, `Bearer`, and what is wrong; with `insufficient_scope` the missing scope.",
    "X-Calculation-Id": "The id under which the calculation is recorded; the JSON form has it in its body.",
    "X-Exact": "`false` where the digits are rounded or a root has a remainder; else absent.",
    "X-Request-ID": "The id of the request, which is also in the service's log.",
}
# Schemas of the header fields above; the others are strings of any form.
_HEADER_SCHEMAS: dict[str, dict[str, Any]] = {
    "Idempotency-Replayed": {"type": "string", "enum": ["true"]},
    "Location": {"type": "string", "format": "uri-reference"},
    "Retry-After": {"type": "integer", "minimum": 0},
    "X-Calculation-Id": {"type": "string", "format": "uuid"},
    "X-Exact": {"type": "string", "enum": ["false"]},
}
_OF_PROBLEMS = {
    "401": ("WWW-Authenticate",),
    "403": ("WWW-Authenticate",),
    "405": ("Allow",),
    "415": ("Accept", "Accept-Encoding"),
    "416": ("Content-Range",),
    "429": ("Retry-After", "RateLimit", "RateLimit-Policy"),
    "500": ("X-Request-ID",),
    "503": ("Retry-After",),
}
# Responses without a body: the HTTP server itself sends most of them, and has no hook to give them one (ADR 2).
_OF_SERVER = {
    "414": {"description": "The path and the query are longer than the server reads. There is no body."},
    "431": {"description": "Header values over 32 KiB, or too many fields. There is no body."},
}
NO_CONTENT: dict[str, Any] = {"status_code": 204, "response_class": Response}  # options of a route
# The ways to send an API key.
_KEY_SCHEMES = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key from POST /me/keys, or an access token, as `Authorization: Bearer ...`.",
    },
    "apiKeyBasic": {
        "type": "http",
        "scheme": "basic",
        "description": "An API key as the password; any user name. A password of an account is refused.",
    },
    "apiKeyQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "An API key that was made with `allow_query`, for programs that can't send header fields.",
    },
}


def json_body(model: str) -> dict[str, Any]:
    """Return the OpenAPI entry of a JSON body that a handler reads without FastAPI."""
    return {"requestBody": {"required": True, "content": json_content(model)}}


def json_content(model: str) -> dict[str, Any]:
    """Return the OpenAPI entry of JSON content with the schema ``model``."""
    # A FastAPI model is not used, because its validators would be built at each start.
    return {"application/json": {"schema": {"$ref": SCHEMAS + model}}}


def headers(*names: str) -> dict[str, Any]:
    """Return the OpenAPI entries of a response's header fields."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def operation_id(route: APIRoute) -> str:
    """Return a route's operation id: the name of its function in camelCase."""
    first, *others = route.name.split("_")
    return first + "".join(map(str.capitalize, others))


def complete(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document the schemas, security, header fields and responses that FastAPI omits."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of errors
        schemas.pop(name, None)
    of_handlers: Any = Batch | CalculationRequest | Evaluation | HistoryItem | Problem  # read or sent without FastAPI
    defined = TypeAdapter(of_handlers).json_schema(ref_template=SCHEMAS + "{model}")["$defs"]
    schemas.update({name: schema for name, schema in defined.items() if name not in schemas})
    components["securitySchemes"] |= _KEY_SCHEMES
    components["headers"] = {
        name: {"description": description, "schema": _HEADER_SCHEMAS.get(name, {"type": "string"})}
        for name, description in HEADERS.items()
    }
    schemas["BatchItem"]["properties"]["operation"]["enum"] = list(CALCULATIONS)
    schemas["CalculationRequest"]["properties"]["operation"]["enum"] = list(OPERATIONS)
    for item in document["paths"].values():
        for method, operation in item.items():
            _complete_operation(method, operation, schemas)
    for schema in _objects(document):
        if schema.get("type") in ("integer", "number"):
            schema.setdefault("format", "int64" if schema["type"] == "integer" else "double")


def _complete_operation(method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    name: str = operation["operationId"]
    security, by_status = operation.setdefault("security", []), operation["responses"]
    for status, entry in responses(*_problems(method, operation)).items():
        by_status.setdefault(str(status), {}).update(entry)
    operation["responses"] = dict(sorted({**_OF_SERVER, **by_status}.items()))
    for (scope,) in filter(None, [requirement.get(BEARER.scheme_name) for requirement in security]):
        # A key that is sent in a URL can only calculate. Linters accept the names of scopes for OAuth2 alone.
        schemes = [scheme for scheme in _KEY_SCHEMES if scheme != "apiKeyQuery" or scope == KeyScope.CALCULATE]
        security[:] = [{BEARER.scheme_name: []}, *({scheme: []} for scheme in schemes)]
        operation["description"] += f"\n\nAn API key needs the scope `{scope}`."
    for parameter in operation.get("parameters", ()):
        # Queries and header fields cannot express null.
        choices = [choice for choice in parameter["schema"].get("anyOf", ()) if choice.get("type") != "null"]
        if len(choices) == 1:
            del parameter["schema"]["anyOf"]
            parameter["schema"] |= choices[0]
    # Problems of calculations that the rate limit has counted.
    counted = ("412", "416", "422", "500", "503", "504") if "calculations" in operation["tags"] else ()
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            if media_type == "application/json":
                content.setdefault("example", example_of(name, content["schema"], schemas))
            elif media_type == "text/plain" and name in CALCULATED:
                content["example"] = digits_of(name)[: 4 if status == "206" else None]  # 206: four digits as a range
        if PROBLEM_MEDIA_TYPE in response.get("content", ()):
            limits = ("RateLimit", "RateLimit-Policy") if status in counted else ()
            response["headers"] = headers(*_OF_PROBLEMS.get(status, ()), *limits) | response.get("headers", {})


def _problems(method: str, operation: dict[str, Any]) -> set[str]:
    """Return the problem types that an operation declares, and those that its method, security and body imply."""
    slugs = {"bad-request", "method-not-allowed", "internal-error"}
    for response in operation["responses"].values():
        slugs.update(response.get("content", {}).get(PROBLEM_MEDIA_TYPE, {}).get("examples", ()))
    if method != "get":  # resources that can be changed have no ETag, so an If-Match with one fails
        slugs.add("precondition-failed")
    if operation["security"]:
        slugs |= {"unauthorized", "forbidden", "validation-error", "overloaded", "unavailable"}
    if "requestBody" in operation:
        slugs |= {"request-timeout", "payload-too-large", "unsupported-media-type", "validation-error"}
    return slugs


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in a document, outer objects first."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(child)
