"""Strict reading of requests: no repeated parameters or members, and only bodies of the accepted types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from pycalc.errors import (
    FieldProblem,
    Forbidden,
    InvalidInput,
    PreconditionFailed,
    TotpRequired,
    Unauthorized,
    UnsupportedCoding,
    UnsupportedMediaType,
)
from pycalc.models.json_text import pointer_step, read_json, shown
from pycalc.observability.requests import context_of
from pycalc.routers.http.connection import body_limits
from pycalc.routers.http.credentials import MOST_PARAMETERS
from pycalc.routers.http.deps import caller_rules
from pycalc.routers.http.problems import audit_refusal, invalid_input
from pycalc.routers.http.session_cookie import is_foreign

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
UNKNOWN_ORIGIN = "Pages of this origin may not call the service: PYCALC_CORS_ORIGINS names those that may."
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., object])

_MOST_FIELDS = 16  # the most fields of a form; OAuth2 defines fewer
_grants: dict[object, str] = {}  # grant type by endpoint


def oauth2_grant(grant_type: str) -> Callable[[_Endpoint], _Endpoint]:
    """Return a decorator for an endpoint that accepts JSON, and the OAuth2 form of the grant ``grant_type`` (RFC 6749).

    An invalid form, or one with wrong credentials, gets an OAuth2 error (section 5.2) instead of an RFC 9457 problem.
    """

    def declare(endpoint: _Endpoint) -> _Endpoint:
        _grants[endpoint] = grant_type
        return endpoint

    return declare


class StrictQuery(BaseModel):
    """The parameters of a query. Unknown ones are refused: if a misspelt filter were ignored, too much would match."""

    model_config = ConfigDict(extra="forbid")


class StrictRoute(APIRoute):
    """A FastAPI route that refuses repeated query parameters, repeated JSON members, and bodies of unaccepted types.

    It also refuses forms from pages of unknown origins, and an If-Match with an ETag on methods other than GET. First
    it authenticates the caller, so that a request without valid credentials is a 401, and its body is not read.
    """

    def get_route_handler(self) -> _Handler:
        """Return a handler that authenticates, checks query, If-Match and body, and then calls FastAPI's handler."""
        handle = super().get_route_handler()
        rules = caller_rules(self.dependant)
        takes_body = self.body_field is not None
        endpoint_reads = self.endpoint in body_limits
        grant = _grants.get(self.endpoint)
        accepted = (JSON, FORM) if grant else (JSON,)

        async def handle_strictly(request: Request) -> Response:
            for rule in rules:
                await rule.authenticate(request.scope)
            query_of(request.scope["query_string"])
            if request.method != "GET" and request.headers.get("if-match", "*").strip() != "*":
                raise PreconditionFailed("If-Match names an ETag, but this resource has none: send no If-Match.")
            if endpoint_reads:
                _require_media_type(request, JSON)
            if not takes_body:
                return await handle(request)
            media_type = _media_type_of(request)
            if media_type:  # a wrong type is refused before the body is read
                _require_media_type(request, *accepted)
            # Browsers let any page post a form, but not JSON. Any page could therefore cause failed logins from its
            # visitors' addresses, until nobody could log in from there.
            if media_type == FORM and is_foreign(request) and not context_of(request.scope).origin_allowed:
                raise Forbidden(UNKNOWN_ORIGIN)
            body = await request.body()
            if body:
                _require_media_type(request, *accepted)
            if grant and media_type == FORM:
                return await _answer_form(request, body, grant, handle)
            return await handle(_ReadRequest(request, read_json(body)) if body else request)

        return handle_strictly


def query_of(query: bytes) -> dict[str, str]:
    """Return the parameters of a query; raises InvalidInput for a repeated one, and for more than MOST_PARAMETERS."""
    if query.count(b"&") >= MOST_PARAMETERS:
        detail = f"The query has more than {MOST_PARAMETERS} parameters: leave out those that do not exist."
        raise InvalidInput.of(FieldProblem("", detail))
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    given = dict(pairs)
    if len(given) != len(pairs):
        times = Counter(name for name, _ in pairs)
        detail = "{} is given more than once: send it once."
        twice = [name for name in given if times[name] > 1]
        raise InvalidInput.of(*(FieldProblem(pointer_step(name), detail.format(shown(name))) for name in twice))
    return given


def _media_type_of(request: Request) -> str:
    """Return the declared media type of a request's body, without parameters and in lower case; "" if there is none."""
    return ", ".join(request.headers.getlist("content-type")).partition(";")[0].strip().lower()


def _require_media_type(request: Request, *accepted: str) -> None:
    """Raise UnsupportedMediaType unless the body is uncompressed and declared to have one of the types ``accepted``.

    A body without Content-Type is refused, because it counts as application/octet-stream (RFC 9110 section 8.3).
    """
    coding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedCoding("The body is compressed: send it without Content-Encoding.", ("identity",))
    given = _media_type_of(request)
    if given not in accepted:
        found = "has no Content-Type" if not given else "is of a type that this route does not take"
        wanted = " or ".join(f"Content-Type: {name}" for name in accepted)
        raise UnsupportedMediaType(f"The body {found}: send {wanted}.", accepted)


class _ReadRequest(Request):
    """A request whose body is already parsed, for FastAPI's handler."""

    def __init__(self, request: Request, document: object) -> None:
        headers = [field for field in request.headers.raw if field[0] != b"content-type"]
        super().__init__({**request.scope, "headers": [*headers, (b"content-type", JSON.encode())]}, request.receive)
        self._document = document

    async def body(self) -> bytes:
        return b"{}"  # not empty, so that FastAPI calls ``json``

    async def json(self) -> Any:
        return self._document


async def _answer_form(request: Request, body: bytes, grant: str, handle: _Handler) -> Response:
    """Handle an OAuth2 form. Turn errors of input and credentials into OAuth2 errors with status 400."""
    code = "invalid_request"  # an error code (RFC 6749 section 5.2)
    try:
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise InvalidInput(f"The body is not a form of up to {_MOST_FIELDS} fields.") from None
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise InvalidInput("A parameter is given more than once: send each one once.")
        given = fields.get("grant_type") or ("password" if grant == "password" else "")
        if not given:
            raise InvalidInput(f"grant_type is missing: send grant_type={grant}.")
        if given != grant:
            code = "unsupported_grant_type"
            raise InvalidInput(f"This route takes grant_type={grant} and no other.")
        known = ("username", "password", "totp") if grant == "password" else ("refresh_token",)
        # Parameters without a value count as omitted (RFC 6749 section 3.2).
        return await handle(_ReadRequest(request, {name: fields[name] for name in known if fields.get(name)}))
    except Unauthorized as error:
        audit_refusal(request.scope, 400, error.detail)
        # RFC 6749 has no code for a missing second factor, and lets servers add codes (section 8.5).
        code = "totp_required" if isinstance(error, TotpRequired) else "invalid_grant"
        description = error.detail
    except RequestValidationError as error:
        description = invalid_input(error.errors()).detail
    except InvalidInput as error:
        description = error.detail
    return JSONResponse({"error": code, "error_description": description}, 400)
