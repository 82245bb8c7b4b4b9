"""The interface of the revocation store."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Revocations(NamedTuple):
    """The users whose access was revoked since a given revocation."""

    newest: int  # the number of the newest revocation
    users: frozenset[bytes] | None  # None: some of the revocations were deleted, so any user may be affected


class RevocationStore(Protocol):
    """The revocations of users' access, numbered in the order of their commits.

    A transaction that ends or restricts a user's access adds a revocation, so that all processes evict cached tokens.
    """

    async def newest(self) -> int:
        """Return the number of the newest revocation, or 0 if there is none."""

    async def since(self, number: int) -> Revocations:
        """Return the revocations with numbers above ``number``."""
