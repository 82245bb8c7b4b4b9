"""Header fields of responses: security, caching, pages, rate limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from starlette.datastructures import URL
from starlette.types import Message, Scope, Send

from pycalc.errors import LimitState
from pycalc.models.limits import NO_MEMBERS, LimitMembers, limit_members

# The Content-Security-Policy of pages. ``styles`` is " 'unsafe-inline'" if a page's library writes inline styles.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; worker-src 'self' blob:"
)
Header = tuple[bytes, bytes]

# The default of every response; RFC 6749 §5.1 requires it for tokens.
NO_STORE = (b"cache-control", b"private, no-store")

SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

# For responses by https: browsers use only https for a year, for the host and its subdomains (RFC 6797).
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def with_default_headers(headers: Iterable[Header]) -> list[Header]:
    """Return header fields, after adding missing defaults for security and against caching."""
    present = list(headers)
    names = {name for name, _ in present}
    return present + [field for field in (*SECURITY_HEADERS, NO_STORE) if field[0] not in names]


def next_link(scope: Scope, cursor: str | None) -> dict[str, str]:
    """Return the Link field (RFC 8288) to the next page, or no field for the last page, whose ``cursor`` is None."""
    if cursor is None:
        return {}
    url = URL(f"{quote(scope['path'])}?{scope['query_string'].decode('latin-1')}")
    return {"Link": f'<{url.include_query_params(cursor=cursor)}>; rel="next"'}


def rate_limit_fields(limits: Sequence[LimitState], quotas: LimitMembers = NO_MEMBERS) -> list[Header]:
    """Return the header fields that describe limits and quotas, if any (draft-ietf-httpapi-ratelimit-headers)."""
    policies, left = limit_members(limits)
    policies, left = [*policies, *quotas.policies], [*left, *quotas.left]
    if not policies:
        return []
    return [(b"ratelimit-policy", ", ".join(policies).encode()), (b"ratelimit", ", ".join(left).encode())]


def with_headers(fields: Sequence[Header], send: Send) -> Send:
    """Return a ``send`` that adds header fields to the response, in place of those with the same names."""
    names = {name for name, _ in fields}

    async def send_with_fields(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [field for field in message.get("headers", ()) if field[0] not in names]
            message = {**message, "headers": [*others, *fields]}
        await send(message)

    return send_with_fields
