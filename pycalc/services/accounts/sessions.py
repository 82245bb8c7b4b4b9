"""Sessions: refresh tokens, rotated at each use; reuse of an old one ends the session (ADR 11, RFC 9700 §4.14)."""

from __future__ import annotations

import base64
import binascii
import secrets
from hashlib import sha256
from typing import NamedTuple

from structlog import get_logger

from pycalc.db.base import NewSession, RefreshHashes, SessionLimits, SessionStore
from pycalc.errors import RefreshTokenReused, Unauthorized
from pycalc.models.auth import User
from pycalc.models.ids import IdSource, now_ms, text_of_id
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.lookup_limit import LookupLimit

_DAY_MS = 24 * 3600 * 1000
LIMITS = SessionLimits(idle_ms=7 * _DAY_MS, absolute_ms=30 * _DAY_MS, grace_ms=10_000, per_user=100)
_PREFIX = "pcr_"
_ID_BYTES = 16
# The first bytes of a secret are the same in all tokens of a session. A token without them never belonged to the
# session, so it is refused without ending the session.
_FAMILY_BYTES = 16
_SECRET_BYTES = 32
_LOOKUPS = 4
_REFUSAL = "The refresh token is invalid, expired or revoked."

_audit = get_logger("pycalc.audit")


class OpenedSession(NamedTuple):
    """A session's id, and its refresh token, which is stored nowhere."""

    id: bytes
    refresh_token: str


class Sessions:
    """The service that opens, refreshes and closes sessions."""

    def __init__(self, store: SessionStore, ids: IdSource, metrics: Metrics) -> None:
        self._store = store
        self._ids = ids
        self._lookups = LookupLimit(_LOOKUPS, metrics.lookups_refused.labels("refresh"))

    async def open(self, user_id: bytes, password_hash: str) -> OpenedSession:
        """Open a session for a user whose password was verified against ``password_hash``.

        Raises Unauthorized when the account is gone or disabled, or has another hash by now.
        """
        identity, family = self._ids.next(), secrets.token_bytes(_FAMILY_BYTES)
        token, token_hash = _new_token(identity, family)
        session = NewSession(identity, user_id, password_hash, sha256(family).digest(), token_hash, now_ms())
        await self._store.open(session, LIMITS)
        return OpenedSession(identity, token)

    async def refresh(self, token: str) -> tuple[User, OpenedSession]:
        """Return the session's user and its next refresh token.

        Raises Unauthorized, Overloaded, and RefreshTokenReused when the reuse of an old token has ended the session.
        """
        try:
            raw = base64.b64decode(token.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not token.startswith(_PREFIX) or len(raw) != _ID_BYTES + _SECRET_BYTES:
            raise Unauthorized(_REFUSAL)
        session_id, secret = raw[:_ID_BYTES], raw[_ID_BYTES:]
        family = secret[:_FAMILY_BYTES]
        replacement, replacement_hash = _new_token(session_id, family)
        presented = sha256(secret).digest()
        refresh = RefreshHashes(session_id, sha256(family).digest(), presented, replacement_hash, now_ms())
        async with self._lookups.slot():
            rotation = await self._store.rotate(refresh, LIMITS)
        if rotation.reused:
            user = rotation.user.username if rotation.user else None
            _audit.warning("refresh token reused: session ended", user=user, session=text_of_id(session_id))
            raise RefreshTokenReused(_REFUSAL, session_id)
        if rotation.user is None:
            raise Unauthorized(_REFUSAL)
        return rotation.user, OpenedSession(session_id, replacement)

    async def bearer(self, user_id: bytes, session_id: bytes) -> User | None:
        """Return the user of an open session, None when the session has ended or belongs to another user."""
        return await self._store.bearer(user_id, session_id, now_ms(), LIMITS)

    async def close(self, session_id: bytes) -> None:
        """End a session."""
        await self._store.close(session_id)

    async def close_all(self, user_id: bytes) -> None:
        """End all sessions of a user."""
        await self._store.close_all(user_id)


def _new_token(session_id: bytes, family: bytes) -> tuple[str, bytes]:
    """Return a new refresh token for a session, and the SHA-256 of its secret, which is stored."""
    secret = family + secrets.token_bytes(_SECRET_BYTES - _FAMILY_BYTES)
    return _PREFIX + base64.urlsafe_b64encode(session_id + secret).decode(), sha256(secret).digest()
