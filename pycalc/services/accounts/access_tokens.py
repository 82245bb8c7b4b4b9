"""Access tokens: JWTs as in RFC 9068, signed with HMAC-SHA256. The header's ``kid`` identifies the signing key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from time import time
from typing import NamedTuple

from pycalc.errors import InvalidToken
from pycalc.models.ids import IdSource, id_of_text, text_of_id

ALGORITHM = "HS256"
TOKEN_TYPE = "at+jwt"  # noqa: S105  # RFC 9068 §2.1
ISSUER = AUDIENCE = "pycalc"
VERSION = 1  # version of the claims; a token of another version is refused, because its claims may mean something else
LONGEST_TOKEN = 2_048
_LEEWAY_SECONDS = 5  # the clock of the instance that issued a token may be ahead of ours
# Canonical base64url, so that each token has exactly one text. A 256-bit signature leaves two bits of its last
# character unused, and these must be zero.
_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)
_CLAIMS: dict[str, type] = {
    **dict.fromkeys(("iss", "aud", "sub", "jti", "sid"), str),
    **dict.fromkeys(("iat", "nbf", "exp", "ver"), int),
}
_REFUSAL = "The token is invalid, expired or revoked."


class Claims(NamedTuple):
    """The claims of a valid access token; ``expires_at`` is in seconds since the epoch."""

    user_id: bytes
    session_id: bytes
    expires_at: float


class TokenSigner:
    """A signer and verifier of access tokens. The newest key signs, all keys verify."""

    def __init__(self, keys: Sequence[str], ids: IdSource, lifetime: int) -> None:
        """Start with ``keys``, newest first; raises ValueError if there is none. A token lives ``lifetime`` seconds."""
        self._ids = ids
        self.lifetime = lifetime
        self.replace_keys(keys)

    def replace_keys(self, keys: Sequence[str]) -> None:
        """From now on, sign with the first of ``keys`` and verify with all; raises ValueError if there is none."""
        if not keys:
            raise ValueError("at least one signing key is needed")
        self._keys = {sha256(b"kid" + key.encode()).hexdigest()[:16]: key for key in keys}
        self.newest = next(iter(self._keys))

    def issue(self, user_id: bytes, session_id: bytes) -> str:
        """Return a new token for a user's session."""
        import jwt  # PyJWT loads all of cryptography, which the first response need not wait for

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
        """Return the claims of a valid access token of this service; raises InvalidToken for anything else."""
        if len(token) > LONGEST_TOKEN or not _FORM.fullmatch(token):
            raise InvalidToken(_REFUSAL)
        import jwt  # not at the top of the module, because it loads all of cryptography

        try:
            header = jwt.get_unverified_header(token)
            # Any other member (jku, x5u, crit) is refused unread.
            if header.keys() != {"alg", "kid", "typ"} or header["typ"] != TOKEN_TYPE:
                raise InvalidToken(_REFUSAL)
            claims = jwt.decode(
                token,
                self._keys[header["kid"]],
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={
                    "require": list(_CLAIMS),
                    "strict_aud": True,
                    "verify_iat": False,  # PyJWT has one leeway for iat, nbf and exp; exp must have none,
                    "verify_nbf": False,  # so these two are compared below
                },
            )
            if any(type(claims[name]) is not kind for name, kind in _CLAIMS.items()):
                raise TypeError("a claim of another type")
            if claims["ver"] != VERSION or max(claims["iat"], claims["nbf"]) > time() + _LEEWAY_SECONDS:
                raise InvalidToken(_REFUSAL)
            return Claims(id_of_text(claims["sub"]), id_of_text(claims["sid"]), float(claims["exp"]))
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise InvalidToken(_REFUSAL) from error
