"""Functions that forge tokens: they change a valid token, and sign the result with any key."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any


def encoded(value: bytes) -> str:
    """Return data in base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    """Return the JSON object that a part of a token encodes."""
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return value


def signed(header: str | bytes, claims: str | bytes, key: str | bytes, digest: str = "sha256") -> str:
    """Return a token with this header and these claims, both JSON texts, signed with a key."""
    parts = [encoded(text.encode() if isinstance(text, str) else text) for text in (header, claims)]
    secret = key.encode() if isinstance(key, str) else key
    return ".".join((*parts, encoded(hmac.digest(secret, ".".join(parts).encode(), digest))))


def resigned(
    token: str,
    key: str | bytes,
    header: Mapping[str, object] | None = None,
    claims: Mapping[str, object] | None = None,
    *,
    without: str = "",
    digest: str = "sha256",
) -> str:
    """Change members of a token's header and claims, remove the member ``without`` from both, and sign the result."""
    texts = []
    for part, changes in zip(token.split("."), (header, claims), strict=False):
        members = {**decoded(part), **(changes or {})}
        members.pop(without, None)
        texts.append(json.dumps(members))
    return signed(texts[0], texts[1], key, digest)
