"""Access tokens: JWTs (RFC 9068 profile) signed with HMAC-SHA256 by keys of our own, looked up locally by ``kid``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from time import time
from typing import Any, NamedTuple

import jwt

from pycalc.errors import InvalidToken
from pycalc.models.ids import IdSource, id_of_text, text_of_id

ALGORITHM = "HS256"
TOKEN_TYPE = "at+jwt"  # noqa: S105  # RFC 9068 §2.1
ISSUER = AUDIENCE = "pycalc"
VERSION = 1
"""Of what the claims mean: another one is refused, so that a later meaning is never taken for this one."""
LONGEST_TOKEN = 2_048
_LEEWAY_SECONDS = 5
"""By how much a token may begin in the future: the clock of the instance that made it may be ahead of ours."""
_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)
"""Base64url as it is written, so that no two texts are one token: 256 bits leave two of the last character unused."""
_HEADER = {"alg", "kid", "typ"}
"""No token of ours says more: nothing that a header could point to or demand is ever looked at."""
_TEXTS = ("iss", "aud", "sub", "jti", "sid")
_NUMBERS = ("iat", "nbf", "exp", "ver")
_MALFORMED = (jwt.PyJWTError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError)
_REFUSAL = "The token is not valid, or not any more."


class Claims(NamedTuple):
    """What a valid token says."""

    user_id: bytes
    session_id: bytes
    expires_at: float


class TokenSigner:
    """Signs with the newest key and verifies with all of them."""

    def __init__(self, keys: Sequence[str], ids: IdSource, lifetime: int) -> None:
        self._ids = ids
        self.lifetime = lifetime
        self.replace_keys(keys)

    def replace_keys(self, keys: Sequence[str]) -> None:
        """Sign with the first of these keys and verify with all of them from now on; raises ValueError for none."""
        if not keys:
            raise ValueError("at least one signing key is needed")
        self._keys = {sha256(b"kid" + key.encode()).hexdigest()[:16]: key for key in keys}
        self.newest = next(iter(self._keys))

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
            "ver": VERSION,
        }
        headers = {"kid": self.newest, "typ": TOKEN_TYPE}
        return jwt.encode(claims, self._keys[self.newest], ALGORITHM, headers)

    def verify(self, token: str) -> Claims:
        """Return a token's claims; raises Unauthorized for anything but a valid access token of ours."""
        if len(token) > LONGEST_TOKEN or not _FORM.fullmatch(token):
            raise InvalidToken(_REFUSAL)
        try:
            header = jwt.get_unverified_header(token)
            if header.keys() != _HEADER or header["typ"] != TOKEN_TYPE:
                raise InvalidToken(_REFUSAL)
            claims = jwt.decode(
                token,
                self._keys[header["kid"]],
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={
                    "require": [*_NUMBERS, *_TEXTS],
                    "strict_aud": True,
                    "verify_iat": False,  # these two in _read: the library has one leeway for them and the expiry
                    "verify_nbf": False,
                },
            )
            return _read(claims)
        except _MALFORMED as error:
            raise InvalidToken(_REFUSAL) from error


def _read(claims: dict[str, Any]) -> Claims:
    """Return the claims that count; raises TypeError or ValueError for those of another form, version or time."""
    if any(type(claims[name]) is not int for name in _NUMBERS) or any(type(claims[name]) is not str for name in _TEXTS):
        raise TypeError("a claim of another type")
    if claims["ver"] != VERSION:
        raise ValueError("another version")
    if max(claims["iat"], claims["nbf"]) > time() + _LEEWAY_SECONDS:
        raise ValueError("not yet valid")
    return Claims(id_of_text(claims["sub"]), id_of_text(claims["sid"]), float(claims["exp"]))
