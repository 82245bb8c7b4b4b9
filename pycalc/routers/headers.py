"""The header fields that every answer carries."""

from __future__ import annotations

from starlette.types import Message, Send

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


def quota_fields(quota: Quota) -> dict[str, str]:
    """Return the header fields that tell a caller how it stands (draft-ietf-httpapi-ratelimit-headers)."""
    return {
        "RateLimit-Policy": f'"default";q={quota.amount};w={quota.window}',
        "RateLimit": f'"default";r={quota.remaining};t={quota.reset}',
    }


def telling_quota(quota: Quota, send: Send) -> Send:
    """Return a ``send`` that adds these header fields to the answer."""
    fields = [(name.lower().encode(), value.encode()) for name, value in quota_fields(quota).items()]

    async def send_with_quota(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *fields]}
        await send(message)

    return send_with_quota
