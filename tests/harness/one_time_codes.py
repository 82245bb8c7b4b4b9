"""One-time passwords by RFC 6238 and RFC 4226, computed independently of the service's library."""

from __future__ import annotations

import base64
import hmac

STEP_SECONDS = 30


def code_at(secret: str, seconds: float) -> str:
    """Return the code of a Base32 secret at a time in seconds since the epoch."""
    counter = int(seconds // STEP_SECONDS).to_bytes(8, "big")
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    start = digest[-1] & 0xF
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**6:06}"
