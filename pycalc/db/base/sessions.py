"""The interface of the session store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.auth import Device, StoredSession, User


class NewSession(NamedTuple):
    """A session to open at ``now_ms``, in milliseconds since the epoch."""

    id: bytes
    user_id: bytes
    # The hash that the password was verified against, which must still be stored; None after a sign-in at the provider.
    password_hash: str | None
    family_hash: bytes  # hash of the part that all refresh tokens of the session share
    refresh_hash: bytes
    now_ms: int
    # Whether a second factor was verified too. If ``password_hash`` is not None, this must be so exactly if the account
    # has a second factor.
    totp: bool = False
    device: Device | None = None


class RefreshHashes(NamedTuple):
    """The hashes of a refresh token that a client presents, and of the token that will replace it."""

    session_id: bytes
    family_hash: bytes
    presented: bytes
    replacement: bytes
    now_ms: int  # since the epoch
    device: Device | None = None


class SessionLimits(NamedTuple):
    """The lifetimes of sessions, and the largest number of sessions of a user."""

    idle_ms: int  # from the last refresh until the session expires
    absolute_ms: int  # from the login until the session expires
    grace_ms: int  # for which a replaced refresh token may be used again
    per_user: int


class Rotation(NamedTuple):
    """The outcome of the exchange of a refresh token."""

    user: User | None  # None if the session is unknown or expired, or the user is disabled
    reused: bool  # whether an old token was used again, which has ended the session


class SessionStore(Protocol):
    """The store of open sessions."""

    async def open(self, session: NewSession, limits: SessionLimits) -> None:
        """Open a session. Delete the user's expired sessions and, above the limit, the least recently used ones.

        Raises Unauthorized if the account is deleted or disabled, or if its password or second factor was changed after
        a login by password had checked it.
        """

    async def bearer(self, user_id: bytes, session_id: bytes, now_ms: int, limits: SessionLimits) -> User | None:
        """Return the user of a session, or None if the session has ended or expired, or the user is disabled."""

    async def rotate(self, refresh: RefreshHashes, limits: SessionLimits) -> Rotation:
        """Exchange a refresh token of a session for ``refresh.replacement``.

        A client that did not receive the replacement may present the old token again within ``limits.grace_ms``, until
        a replacement is used. Any other invalid token ends the session, because it may be stolen. If
        ``refresh.family_hash`` is not the hash of the session's family of tokens, nothing changes.
        """

    async def of_user(self, user_id: bytes, now_ms: int, limits: SessionLimits) -> list[StoredSession]:
        """Return a user's open sessions, the most recently used first."""

    async def close(self, user_id: bytes, session_id: bytes) -> None:
        """End a session; raises NotFound if the user has no such session."""

    async def close_all(self, user_id: bytes, granted_by: bytes | None = None) -> None:
        """End all sessions of a user. Raises Forbidden if ``granted_by`` is not an enabled admin's id."""
