"""The header fields that every answer carries."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode

from starlette.types import Message, Scope, Send

from pycalc.errors import Quota

PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; worker-src 'self' blob:"
)
"""For pages; those whose libraries write styles of their own fill in `` 'unsafe-inline'``."""

NO_STORE = (b"cache-control", b"private, no-store")
"""For everything that does not say that it may be kept (RFC 6749 §5.1 demands it of tokens)."""

SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
"""For answers by https: a year without http, for the host and those below it (RFC 6797)."""


def with_default_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add the header fields that every answer carries where it has none of its own."""
    present = list(headers)
    names = {name for name, _ in present}
    return present + [field for field in (*SECURITY_HEADERS, NO_STORE) if field[0] not in names]


def next_link(scope: Scope, cursor: str | None) -> dict[str, str]:
    """Return the Link field (RFC 8288) for the next page; no field on the last."""
    if cursor is None:
        return {}
    query = [
        (name, value)
        for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if name != "cursor"
    ]
    target = f"{quote(scope['path'])}?{urlencode([*query, ('cursor', cursor)])}"
    return {"Link": f'<{target}>; rel="next"'}


def quota_fields(quota: Quota) -> dict[str, str]:
    """Return the header fields that tell a caller how it stands (draft-ietf-httpapi-ratelimit-headers)."""
    return {
        "RateLimit-Policy": f'"default";q={quota.amount};w={quota.window}',
        "RateLimit": f'"default";r={quota.remaining};t={quota.reset}',
    }


def with_quota(quota: Quota, send: Send) -> Send:
    """Return a ``send`` that adds these header fields to the answer."""
    return with_headers([(name.lower().encode(), value.encode()) for name, value in quota_fields(quota).items()], send)


def with_headers(fields: Iterable[tuple[bytes, bytes]], send: Send) -> Send:
    """Return a ``send`` that adds header fields to the answer."""

    async def send_with_fields(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *fields]}
        await send(message)

    return send_with_fields
