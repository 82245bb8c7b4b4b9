"""Sessions. A refresh token is replaced at each use, and reuse of an old one ends its session (RFC 9700 §4.14)."""

from __future__ import annotations

import base64
import secrets
from hashlib import sha256
from typing import NamedTuple

from pycalc.db.base import NewSession, RefreshHashes, SessionLimits, SessionStore
from pycalc.errors import InvalidToken, RefreshTokenReused, Unauthorized
from pycalc.models.auth import Device, User
from pycalc.models.ids import IdSource, now_ms, text_of_id
from pycalc.observability.metrics import AccountMetrics
from pycalc.services.accounts.access_tokens import Claims, TokenSigner
from pycalc.services.accounts.audit_log import AuditLog
from pycalc.services.limits.concurrency import lookup_limit

_DAY_MS = 24 * 3600 * 1000
LIMITS = SessionLimits(idle_ms=7 * _DAY_MS, absolute_ms=30 * _DAY_MS, grace_ms=10_000, per_user=100)
_PREFIX = "pcr_"
_ID_BYTES = 16
# The first bytes of a secret are the same in all refresh tokens of a session. A token with other bytes was forged, so
# its refusal does not end the session.
_FAMILY_BYTES = 16
_SECRET_BYTES = 32
_REFUSAL = "The refresh token is invalid, expired or revoked."


class Tokens(NamedTuple):
    """The access token and the refresh token of a session; both are secrets."""

    access: str
    refresh: str
    expires_in: int  # seconds for which the access token is valid


class Sessions:
    """The service that opens and refreshes sessions, and verifies their access tokens."""

    def __init__(
        self, store: SessionStore, signer: TokenSigner, ids: IdSource, metrics: AccountMetrics, audit: AuditLog
    ) -> None:
        self.audit = audit
        self.store = store
        self.signer = signer
        self._ids = ids
        self._lookups = lookup_limit(4, metrics.lookups_refused.labels("refresh"))

    async def open(
        self, user_id: bytes, password_hash: str | None, device: Device | None = None, *, totp: bool = False
    ) -> Tokens:
        """Open a session for a user whose password was verified against ``password_hash``.

        ``password_hash`` is None if the identity provider has signed the user in. ``totp`` tells whether a second
        factor was verified too. Raises Unauthorized, as ``SessionStore.open``, if the account was changed meanwhile.
        """
        identity, family = self._ids.next(), secrets.token_bytes(_FAMILY_BYTES)
        token, token_hash = _new_token(identity, family)
        session = NewSession(
            identity, user_id, password_hash, sha256(family).digest(), token_hash, now_ms(), totp, device
        )
        await self.store.open(session, LIMITS)
        return Tokens(self.signer.issue(user_id, identity), token, self.signer.lifetime)

    async def refresh(self, token: str, device: Device | None = None) -> Tokens:
        """Exchange a refresh token for new tokens of its session; raises Unauthorized and Overloaded.

        A replaced token still works for 10 s, unless its replacement is used earlier. Any other use of a replaced token
        ends the session and raises RefreshTokenReused.
        """
        try:
            raw = base64.b64decode(token.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        if not token.startswith(_PREFIX) or len(raw) != _ID_BYTES + _SECRET_BYTES:
            raise Unauthorized(_REFUSAL)
        session_id, secret = raw[:_ID_BYTES], raw[_ID_BYTES:]
        family = secret[:_FAMILY_BYTES]
        replacement, replacement_hash = _new_token(session_id, family)
        presented = sha256(secret).digest()
        hashes = RefreshHashes(session_id, sha256(family).digest(), presented, replacement_hash, now_ms(), device)
        async with self._lookups.slot():
            rotation = await self.store.rotate(hashes, LIMITS)
        if rotation.reused:
            user = rotation.user.username if rotation.user else None
            action, session = "refresh token reused: session ended", text_of_id(session_id)
            self.audit.record(action, subject=user, actor=user, outcome="refused", session=session)
            raise RefreshTokenReused(_REFUSAL, session_id)
        if rotation.user is None:
            raise Unauthorized(_REFUSAL)
        return Tokens(self.signer.issue(rotation.user.id, session_id), replacement, self.signer.lifetime)

    async def bearer(self, access_token: str) -> tuple[User, Claims]:
        """Return the user and the claims of an access token.

        Raises InvalidToken if the token is invalid, its session has ended, or the user is disabled.
        """
        claims = self.signer.verify(access_token)
        user = await self.store.bearer(claims.user_id, claims.session_id, now_ms(), LIMITS)
        if user is None:
            raise InvalidToken("The session of this token has ended.")
        return user, claims


def _new_token(session_id: bytes, family: bytes) -> tuple[str, bytes]:
    """Return a new refresh token for a session, and the SHA-256 of its secret, which begins with ``family``."""
    secret = family + secrets.token_bytes(_SECRET_BYTES - _FAMILY_BYTES)
    return _PREFIX + base64.urlsafe_b64encode(session_id + secret).decode(), sha256(secret).digest()
