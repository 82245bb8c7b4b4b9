"""The header fields Idempotency-Key and Idempotency-Replayed (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Scope

from pycalc.errors import FieldProblem, InvalidInput
from pycalc.models.auth import Principal
from pycalc.models.idempotency import RequestKey
from pycalc.observability.requests import context_of
from pycalc.routers.http.deps import resources_of
from pycalc.routers.http.openapi import headers
from pycalc.routers.http.problem_types import responses
from pycalc.services.calculations.idempotency import HEADER, Recorded, key_of
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES

REPLAYED = "Idempotency-Replayed"
# A string of a structured field (RFC 8941 §3.3.3) without spaces, or the bare characters that many clients send.
_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\]){1,255})"')
_BARE = re.compile(r"[!#-~][!-~]{0,254}")
_ESCAPED = re.compile(r"\\(.)")

# No example: the documentation page would send it with every request, and a key is accepted for one request only.
PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A key that the client makes for this request, in quotes (a string of RFC 8941) or without, such as "
    '`"8e03978e-40d5-43dd-bc93-6894a57f9324"`. A retry with the same key and body within 24 hours gets the recorded '
    "answer, and records nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 512, "pattern": "^[!-~]+$"},
}

IN_USE: dict[int | str, dict[str, Any]] = {409: {**responses("conflict")[409], "headers": headers("Retry-After")}}

T = TypeVar("T")


async def once(
    scope: Scope,
    key: RequestKey,
    calculate: Callable[[], Awaitable[T]],
    again: Callable[[Recorded], Awaitable[T]],
) -> T:
    """Return the result of ``calculate`` or, if the request is recorded already, the result of ``again``.

    In the second case, the response gets Idempotency-Replayed. Raises the errors of ``IdempotencyKeys.once``.
    """

    async def replay(recorded: Recorded) -> T:
        answer = await again(recorded)
        context_of(scope).fields += ((REPLAYED.lower().encode(), b"true"),)
        return answer

    return await resources_of(scope).idempotency.once(key, calculate, replay)


async def request_key(request: Request, caller: Principal, body: bytes) -> RequestKey | None:
    """Return a request's idempotency key, or None without one. Raises InvalidInput if it is malformed or repeated.

    The fingerprint of the request covers method, path, query and body.
    """
    scope, values = request.scope, request.headers.getlist(HEADER)
    if not values:
        return None
    quoted = _QUOTED.fullmatch(values[0])
    if len(values) > 1 or not (quoted or _BARE.fullmatch(values[0])):
        example = "8e03978e-40d5-43dd-bc93-6894a57f9324"
        detail = f'{HEADER} must be 1 to 255 visible ASCII characters, such as "{example}": send it once.'
        raise InvalidInput.of(FieldProblem("/idempotency-key", detail))
    name = _ESCAPED.sub(r"\1", quoted[1]) if quoted else values[0]
    whole = b"%b %b?%b\n%b" % (scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)
    make_key = partial(key_of, caller.user_id, name, whole)
    long = len(body) > UNCOUNTED_BYTES  # hashing it would block the event loop
    return await asyncio.to_thread(make_key) if long else make_key()
