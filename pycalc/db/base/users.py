"""The interfaces of the account store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.audit import AuditEntry
from pycalc.models.auth import DeletedHistory, ListedUser, Role, User, UserOrder
from pycalc.models.limits import OwnLimits


class ProviderIdentity(NamedTuple):
    """A user's identity at an OpenID Connect provider."""

    issuer: str  # the provider's URL
    subject: str  # the user's id there, which is never given to another user


class Deletion(NamedTuple):
    """The rules of the deletion of an account; times are in milliseconds since the epoch."""

    history: DeletedHistory
    now_ms: int
    reserved_until_ms: int  # until then nobody can register the name
    password_hash: str | None = None  # the hash that the account must have; None means any


class UserSelection(NamedTuple):
    """A filter and an order of accounts."""

    # Of the username or the email address, in any letter case; None selects all. The address of an account from the
    # identity provider is not searched, because such addresses have no index.
    prefix: str | None = None
    order: UserOrder = UserOrder.USERNAME
    descending: bool = False
    # The last account of the previous page: its value in the order, and its id. None selects the first page.
    after: tuple[str | int, bytes] | None = None


class UserListStore(Protocol):
    """The accounts with their activity, which can be searched and sorted."""

    async def page(self, selection: UserSelection, limit: int, day: int) -> list[ListedUser]:
        """Return up to ``limit`` of the selected accounts, with their usage on ``day``, in days since 1970-01-01."""


class UserStore(Protocol):
    """The accounts, and the one-time token that registers the first admin. Letter case in usernames is ignored.

    An ``audit`` entry is stored in the same transaction as the change that it describes.
    """

    async def add(
        self,
        user: User,
        *,
        burn_bootstrap: bytes | None = None,
        granted_by: bytes | None = None,
        identity: ProviderIdentity | None = None,
        audit: AuditEntry | None = None,
    ) -> None:
        """Add an account, and check the permission to do so in the same transaction.

        If ``burn_bootstrap`` is given, it must be the hash of the bootstrap token, and there must be no enabled admin.
        The token is deleted. If ``granted_by`` is given, it must be the id of an enabled admin. If ``identity`` is
        given, the account is linked to it, and the email address need not be unique.

        Raises Forbidden if a requirement is not met, and Conflict if the username, the email address or the identity is
        taken, or a deleted account's name is still reserved.
        """

    async def by_identity(self, identity: ProviderIdentity) -> User | None:
        """Return the account that is linked to an identity, or None if there is none."""

    async def by_username(self, username: str) -> User | None:
        """Return the account with this name, or None if there is none."""

    async def by_id(self, user_id: bytes) -> User | None:
        """Return the account with this id, or None if there is none."""

    async def id_of(self, username: str) -> bytes | None:
        """Return the id of the account with this name, or of the last deleted one whose history was kept, or None."""

    async def change(
        self,
        username: str,
        role: Role | None,
        disabled: bool | None,
        limits: OwnLimits | None = None,
        *,
        granted_by: bytes | None = None,
        audit: AuditEntry | None = None,
    ) -> User:
        """Change an account and return it. A parameter that is None, or an unset field of ``limits``, changes nothing.

        Disabling ends the user's sessions and deletes an open password reset. Raises Forbidden if ``granted_by`` is not
        an enabled admin's id, NotFound if there is no such account, and Conflict if no enabled admin would be left.
        """

    async def upgrade_hash(self, user_id: bytes, before: str, after: str) -> bool:
        """Replace the password hash ``before`` by ``after``. Return False if the stored hash is not ``before``."""

    async def set_password(self, user_id: bytes, before: str, after: str, session_id: bytes) -> None:
        """Replace the password hash, end the user's sessions except ``session_id``, and delete an open password reset.

        Raises InvalidToken if the stored hash is no longer ``before``, or if the session ``session_id`` has ended.
        """

    async def delete(
        self, username: str, deletion: Deletion, *, granted_by: bytes | None = None, audit: AuditEntry | None = None
    ) -> User:
        """Delete and return an account, with its sessions, keys, second factor, identity and password reset.

        Unless ``deletion.history`` is "keep", list the account as one whose history is to be erased or made anonymous.

        Raises Forbidden if ``granted_by`` is not an enabled admin's id, NotFound if there is no such account, Conflict
        for the last enabled admin, and InvalidToken if the account's password hash is not ``deletion.password_hash``.
        """

    async def has_admin(self) -> bool:
        """Return whether there is an enabled admin."""

    async def bootstrap_hash(self) -> bytes | None:
        """Return the hash of the valid bootstrap token, or None if there is none."""

    async def offer_bootstrap(self, token_hash: bytes, *, replace: bool = True) -> bool:
        """Make a bootstrap token valid, unless there is an enabled admin or, without ``replace``, an earlier token.

        Return whether this token is valid now.
        """
