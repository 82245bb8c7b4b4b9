"""Credentials in requests: a bearer token, or an API key by HTTP Basic or in the query."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from pycalc.observability.requests import RequestContext, context_of
from pycalc.services.accounts.api_keys import PREFIX

KEY_PREFIX = PREFIX.encode()
_PARAMETER = b"key"
_LONGEST_NAME = len("%6b%65%79")
MOST_PARAMETERS = 64  # far more than any route has; thousands in one query would block the event loop


def token_of(scope: Scope) -> bytes | None:
    """Return the token in a request, None if there is none, or an empty token if its form is not accepted.

    The token is a bearer token (RFC 6750 section 2.1), or an API key in the query or as the password of HTTP Basic (RFC
    7617). Passwords and access tokens are accepted neither by HTTP Basic nor in the query.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            credentials: bytes = rest.strip()
            if scheme.lower() == b"bearer":
                return credentials
            if scheme.lower() != b"basic":
                return b""
            try:
                return _only_key(base64.b64decode(credentials, validate=True).partition(b":")[2])
            except binascii.Error:
                return b""
    key: bytes | None = context_of(scope).query_key
    return None if key is None else _only_key(key)


def _only_key(token: bytes) -> bytes:
    return token if token.startswith(KEY_PREFIX) else b""


def take_query_key(scope: Scope, context: RequestContext) -> None:
    """Move the API key in a request's query into its context, so that no log, trace or header field shows the key.

    The query is changed in ``scope`` itself, because an HTTP server may write its access log from there. If ``key`` is
    repeated, the context gets an empty key, which is never valid. A query with too many parameters is shortened,
    because reading thousands would block the event loop; enough are left for the routes to refuse it.
    """
    query: bytes = scope["query_string"]
    most = MOST_PARAMETERS + 2  # even without ``key``, more than MOST_PARAMETERS are left
    if query.count(b"&") >= most:
        query = scope["query_string"] = b"&".join(query.split(b"&", most)[:most])
    if _PARAMETER not in query and b"%" not in query:
        return
    others, keys = [], []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        # A longer name can't be ``key``, even with every letter escaped; decoding 64 KiB of escapes takes milliseconds.
        if len(name) <= _LONGEST_NAME and _decoded(name) == _PARAMETER:
            keys.append(_decoded(value))
        else:
            others.append(part)
    if keys:
        context.query_key = keys[0] if len(keys) == 1 else b""
        repeated = [_PARAMETER + b"="] * (len(keys) if len(keys) > 1 else 0)
        scope["query_string"] = b"&".join([*others, *repeated])


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
