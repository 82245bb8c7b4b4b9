"""Access tokens: JWTs (RFC 9068 profile) signed with HMAC-SHA256 by keys of our own, looked up locally by ``kid``."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from time import time
from typing import NamedTuple

import jwt

from pycalc.errors import Unauthorized
from pycalc.models.ids import IdSource, id_of_text, text_of_id

ALGORITHM = "HS256"
TOKEN_TYPE = "at+jwt"  # noqa: S105  # RFC 9068 §2.1
ISSUER = AUDIENCE = "pycalc"
LONGEST_TOKEN = 2_048
_REQUIRED = ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid"]
_REFUSAL = "The token is not valid, or not any more."


class Claims(NamedTuple):
    """What a valid token says."""

    user_id: bytes
    session_id: bytes
    expires_at: float


class TokenSigner:
    """Signs with the newest key and verifies with all of them."""

    def __init__(self, keys: Sequence[str], ids: IdSource, lifetime: int) -> None:
        if not keys:
            raise ValueError("at least one signing key is needed")
        self._keys = {sha256(b"kid" + key.encode()).hexdigest()[:16]: key for key in keys}
        self._newest = next(iter(self._keys))
        self._ids = ids
        self.lifetime = lifetime

    def issue(self, user_id: bytes, session_id: bytes) -> str:
        """Return a token for a user's session, valid from now for ``lifetime`` seconds."""
        now = int(time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": text_of_id(user_id),
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime,
            "jti": text_of_id(self._ids.next()),
            "sid": text_of_id(session_id),
        }
        headers = {"kid": self._newest, "typ": TOKEN_TYPE}
        return jwt.encode(claims, self._keys[self._newest], ALGORITHM, headers)

    def verify(self, token: str) -> Claims:
        """Return a token's claims; raises Unauthorized for anything but a valid access token of ours."""
        if len(token) > LONGEST_TOKEN:
            raise Unauthorized(_REFUSAL)
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TOKEN_TYPE:
                raise Unauthorized(_REFUSAL)
            claims = jwt.decode(
                token,
                self._keys[header["kid"]],
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": _REQUIRED},
            )
            return Claims(id_of_text(claims["sub"]), id_of_text(claims["sid"]), float(claims["exp"]))
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise Unauthorized(_REFUSAL) from error
