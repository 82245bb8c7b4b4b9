"""The interface of the session store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.auth import User


class NewSession(NamedTuple):
    """A session to open at ``now_ms``, in milliseconds since the epoch."""

    id: bytes
    user_id: bytes
    password_hash: str  # the hash that the password was verified against; the account must still have this hash
    family_hash: bytes  # hash of the part that all refresh tokens of the session share
    refresh_hash: bytes
    now_ms: int


class RefreshHashes(NamedTuple):
    """The hashes of a presented refresh token and of its replacement, at ``now_ms``, milliseconds since the epoch."""

    session_id: bytes
    family_hash: bytes
    presented: bytes
    replacement: bytes
    now_ms: int


class SessionLimits(NamedTuple):
    """The lifetimes of sessions, in milliseconds, and the largest number of sessions of a user."""

    idle_ms: int
    absolute_ms: int
    grace_ms: int
    per_user: int


class Rotation(NamedTuple):
    """The result of a refresh: the session's user, or None; ``reused`` when an old token ended the session."""

    user: User | None
    reused: bool


class SessionStore(Protocol):
    """Open sessions."""

    async def open(self, session: NewSession, limits: SessionLimits) -> None:
        """Open a session; drop the user's expired sessions and, above the limit, the least recently used ones.

        Raises Unauthorized when the account is gone or disabled, or has another password hash.
        """

    async def bearer(self, user_id: bytes, session_id: bytes, now_ms: int, limits: SessionLimits) -> User | None:
        """Return the user of an open session, None when the session is idle or old beyond the limits."""

    async def rotate(self, refresh: RefreshHashes, limits: SessionLimits) -> Rotation:
        """Replace a refresh token of a session by its successor.

        During the grace time a replaced token still gets another successor, which starts a chain of its own. An older
        token of the session's family ends the session. A token of another family changes and writes nothing.
        """

    async def close(self, session_id: bytes) -> None:
        """End a session."""

    async def close_all(self, user_id: bytes) -> None:
        """End all sessions of a user."""
