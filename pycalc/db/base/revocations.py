"""The interface of the revocation store."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Revocations(NamedTuple):
    """The users whose access was revoked after a given revocation, and the number of the newest revocation."""

    newest: int
    users: frozenset[bytes] | None  # affected users; None means everybody, because old revocations were dropped


class RevocationStore(Protocol):
    """The revocations of users' access, by all processes on the database, numbered in the order of their commits.

    A change that ends or restricts access adds its revocation in the same transaction: the end of a session, a new
    password, a change or deletion of an account, or the removal of a key.
    """

    async def newest(self) -> int:
        """Return the number of the newest revocation, or 0 if there is none."""

    async def since(self, number: int) -> Revocations:
        """Return the revocations with numbers above ``number``."""
