"""The header fields that every answer carries."""

from __future__ import annotations

CONTENT_SECURITY_POLICY = b"content-security-policy"
PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; worker-src 'self' blob:"
)
"""For pages; those whose libraries write styles of their own fill in `` 'unsafe-inline'``."""

SECURITY_HEADERS = (
    (CONTENT_SECURITY_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
