"""Verification of ID tokens (OpenID Connect Core 1.0 §3.1.3.7), without network access."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pycalc.errors import Unauthorized

if TYPE_CHECKING:  # PyJWT loads all of cryptography, which the first response need not wait for
    from jwt import PyJWK

# Signatures by key pairs only: a token signed with a shared secret, or with none, is refused.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LONGEST_TOKEN = 32_768
LONGEST_EMAIL = 254
_LEEWAY_SECONDS = 30  # the provider's clock may differ from ours
_OLDEST_SECONDS = 600  # since the token was issued: the exchange takes seconds


class Requirement(NamedTuple):
    """A requirement on a claim: it must be ``value``, or a list that contains ``value``."""

    claim: str
    value: str

    def met_by(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claims meet the requirement.

        If there is no claim named ``a.b``, the name means the member ``b`` of the claim ``a``.
        """
        found: Any = claims
        for name in (self.claim,) if self.claim in claims else self.claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return self.value in found if isinstance(found, list) else found == self.value


class Identity(NamedTuple):
    """The claims of a verified ID token. Only issuer and subject together identify a user."""

    issuer: str
    subject: str
    name: str  # the preferred username, or "" if there is none
    email: str  # "" without one
    claims: Mapping[str, Any]


def signing_keys(document: Mapping[str, Any]) -> Sequence[PyJWK]:
    """Return the public signature keys of a JSON Web Key Set; raises ValueError for any other document."""
    import jwt

    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ValueError("the key set is not a JSON object with a list of keys")
    found = []
    for key in keys:
        if isinstance(key, dict) and key.get("kty") != "oct" and key.get("use", "sig") == "sig":
            with suppress(jwt.PyJWTError, TypeError, ValueError, ArithmeticError):  # PyJWT can't read this key
                found.append(jwt.PyJWK.from_dict(key))
    return found


def key_id_of(token: str) -> str | None:
    """Return the key id in a token's header, or None if there is none.

    Raises Unauthorized for a token that is malformed, too long, or signed by an algorithm that is not accepted.
    """
    import jwt

    try:
        if len(token) > LONGEST_TOKEN:
            raise jwt.DecodeError("too long")
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError) as error:  # ValueError: a lone surrogate
        raise refused("it is not a signed token") from error
    if header.get("alg") not in ALGORITHMS:
        raise refused("its algorithm is not accepted")
    key_id = header.get("kid")
    return key_id if isinstance(key_id, str) else None


def verify(token: str, key: PyJWK | None, issuer: str, client_id: str, nonce: str) -> Identity:
    """Return the identity in a token that ``key`` has signed; raises Unauthorized for any other token.

    The token must be from this issuer, for this client alone, unexpired and recently issued, and contain the nonce. A
    ``key`` of None means that the provider has no such key, so the token is refused.
    """
    import jwt

    if key is None:
        raise refused("its key is not one of the provider's")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            audience=client_id,
            issuer=issuer,
            leeway=_LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
        )
    except (jwt.PyJWTError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise refused(type(error).__name__) from error
    # PyJWT does not make the checks below.
    given, subject, issued = claims["nonce"], claims["sub"], claims["iat"]
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(errors="replace"), nonce.encode()):
        raise refused("its nonce is of another sign-in")
    if claims["aud"] not in (client_id, [client_id]) or claims.get("azp", client_id) != client_id:
        raise refused("it is for other clients too")
    if not isinstance(issued, int | float) or issued < time() - _OLDEST_SECONDS:
        raise refused("it was issued long ago")
    if not (subject.isascii() and subject.isprintable() and 0 < len(subject) <= 255):  # OpenID Connect Core 1.0 §2
        raise refused("its subject is not 1 to 255 printable ASCII characters")
    name, email = claims.get("preferred_username"), claims.get("email")
    return Identity(
        issuer,
        subject,
        name if isinstance(name, str) else "",
        email if isinstance(email, str) and email.isprintable() and len(email) <= LONGEST_EMAIL else "",
        claims,
    )


def refused(reason: str) -> Unauthorized:
    """Return the error for a refused ID token. Clients and the log see ``reason``, which must not quote the token."""
    return Unauthorized(f"The identity provider's token is refused: {reason}. Begin again with GET /oidc/login.")
