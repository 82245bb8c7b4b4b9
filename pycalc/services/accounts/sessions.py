"""Sessions: refresh tokens, rotated at every use; reuse of an old one ends the session (ADR 11, RFC 9700 §4.14)."""

from __future__ import annotations

import base64
import binascii
import secrets
from hashlib import sha256
from typing import NamedTuple

from structlog import get_logger

from pycalc.db.base import NewSession, Refresh, SessionLimits, SessionStore
from pycalc.errors import RefreshTokenReused, Unauthorized
from pycalc.models.auth import User
from pycalc.models.ids import IdSource, now_ms, text_of_id
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.lookups import Lookups

_DAY_MS = 24 * 3600 * 1000
LIMITS = SessionLimits(idle_ms=7 * _DAY_MS, absolute_ms=30 * _DAY_MS, grace_ms=10_000, per_user=100)
_PREFIX = "pcr_"
_FAMILY_BYTES = 16
"""Of a secret: the same in all tokens of a session. Who does not know them has never had one, and ends nothing."""
_SECRET_BYTES = 32
_LOOKUPS = 4
_REFUSAL = "The refresh token is not valid, or not any more."

_audit = get_logger("pycalc.audit")


class OpenedSession(NamedTuple):
    """A session and the refresh token that keeps it open; the token is shown this once."""

    id: bytes
    refresh_token: str


class Sessions:
    """Opens, refreshes and closes sessions."""

    def __init__(self, store: SessionStore, ids: IdSource, metrics: Metrics) -> None:
        self._store = store
        self._ids = ids
        self._lookups = Lookups(_LOOKUPS, metrics.lookups_refused.labels("refresh"))

    async def open(self, user_id: bytes, password_hash: str) -> OpenedSession:
        """Open a session for a user whose password was verified against that hash.

        Raises Unauthorized when the account is gone or disabled, or that is not its hash any more.
        """
        identity, family = self._ids.next(), secrets.token_bytes(_FAMILY_BYTES)
        token, token_hash = _new_token(identity, family)
        session = NewSession(identity, user_id, password_hash, _hash(family), token_hash, now_ms())
        await self._store.open(session, LIMITS)
        return OpenedSession(identity, token)

    async def refresh(self, token: str) -> tuple[User, OpenedSession]:
        """Return a session's user and its next refresh token.

        Raises Unauthorized, Overloaded; RefreshTokenReused when the session has ended by it.
        """
        session_id, secret = _parse(token)
        family = secret[:_FAMILY_BYTES]
        replacement, replacement_hash = _new_token(session_id, family)
        refresh = Refresh(session_id, _hash(family), _hash(secret), replacement_hash, now_ms())
        async with self._lookups.one():
            rotation = await self._store.rotate(refresh, LIMITS)
        if rotation.reused:
            user = rotation.user.username if rotation.user else None
            _audit.warning("refresh token reused: session ended", user=user, session=text_of_id(session_id))
            raise RefreshTokenReused(_REFUSAL, session_id)
        if rotation.user is None:
            raise Unauthorized(_REFUSAL)
        return rotation.user, OpenedSession(session_id, replacement)

    async def bearer(self, user_id: bytes, session_id: bytes) -> User | None:
        """Return the user of a session that is open."""
        return await self._store.bearer(user_id, session_id, now_ms(), LIMITS)

    async def close(self, session_id: bytes) -> None:
        """End a session."""
        await self._store.close(session_id)

    async def close_all(self, user_id: bytes) -> None:
        """End all sessions of a user."""
        await self._store.close_all(user_id)


def _hash(secret: bytes) -> bytes:
    return sha256(secret).digest()


def _new_token(session_id: bytes, family: bytes) -> tuple[str, bytes]:
    """Return a new refresh token for a session, and the hash that is stored."""
    secret = family + secrets.token_bytes(_SECRET_BYTES - _FAMILY_BYTES)
    return _PREFIX + base64.urlsafe_b64encode(session_id + secret).decode(), _hash(secret)


def _parse(token: str) -> tuple[bytes, bytes]:
    """Return a refresh token's session and its secret; raises Unauthorized."""
    try:
        raw = base64.b64decode(token.removeprefix(_PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not token.startswith(_PREFIX) or len(raw) != 16 + _SECRET_BYTES:
        raise Unauthorized(_REFUSAL)
    return raw[:16], raw[16:]
