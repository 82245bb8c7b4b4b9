"""The header fields that every answer carries."""

from __future__ import annotations

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
