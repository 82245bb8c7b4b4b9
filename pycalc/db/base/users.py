"""The interface of the account store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycalc.models.audit import AuditEntry
from pycalc.models.auth import DeletedHistory, Role, User
from pycalc.models.limits import OwnLimits


class ProviderIdentity(NamedTuple):
    """A user's identity at a provider: the issuer's URL, and the subject, which that issuer never reassigns."""

    issuer: str
    subject: str


class Deletion(NamedTuple):
    """The instructions for the deletion of an account at ``now_ms``; times are in milliseconds since the epoch."""

    history: DeletedHistory
    now_ms: int
    reserved_until_ms: int  # until then nobody else can register the name
    password_hash: str | None = None  # the hash that the account must still have; None: any


class UserStore(Protocol):
    """Accounts, and the one-time token that registers the first admin. Usernames ignore letter case.

    An ``audit`` entry is stored in the transaction of its change.
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
        """Insert an account, and check the permission to do so in the same transaction.

        ``burn_bootstrap`` consumes the bootstrap token with that hash, and requires that there is no admin yet.
        ``granted_by`` requires an enabled admin with that id. ``identity`` links the account to a provider; its email
        address then need not be unique. Raises Forbidden if a requirement is not met, and Conflict if the username, the
        email address or the identity is taken, or the name of a deleted account is still reserved.
        """

    async def by_identity(self, identity: ProviderIdentity) -> User | None:
        """Return the account that is linked to an identity, None without one."""

    async def by_username(self, username: str) -> User | None:
        """Return the account of that name, None without one."""

    async def by_id(self, user_id: bytes) -> User | None:
        """Return the account of that id, None without one."""

    async def id_of(self, username: str) -> bytes | None:
        """Return the id of the account of that name, None without one.

        Without one, return the id of the newest deleted account of that name whose history was kept with the name.
        """

    async def change(
        self,
        username: str,
        role: Role | None,
        disabled: bool | None,
        limits: OwnLimits | None = None,
        audit: AuditEntry | None = None,
    ) -> User:
        """Change an account and return it; None leaves a property unchanged.

        Only the members of ``limits`` that are set are changed. Disabling ends the user's sessions and the open
        password reset. Raises NotFound if there is no such account, Conflict if no enabled admin would be left.
        """

    async def upgrade_hash(self, user_id: bytes, before: str, after: str) -> bool:
        """Replace the password hash ``before`` by ``after``; return False if the stored hash is not ``before``."""

    async def set_password(self, user_id: bytes, before: str, after: str, session_id: bytes) -> None:
        """Replace the password hash, and end the user's sessions except ``session_id`` and the open password reset.

        Raises InvalidToken if the stored hash is no longer ``before``, or that session has ended.
        """

    async def delete(self, username: str, deletion: Deletion, audit: AuditEntry | None = None) -> User:
        """Delete an account with its sessions, keys, second factor, identity and password reset, and return it.

        Unless its history is kept with the name, the account is put on the list of ``DeletedAccountStore``, and nothing
        leads from the name to the history any more.

        Raises NotFound if there is no such account, Conflict for the last enabled admin, and InvalidToken if the
        account has another password hash.
        """

    async def has_admin(self) -> bool:
        """Return whether there is an enabled admin."""

    async def bootstrap_hash(self) -> bytes | None:
        """Return the hash of the valid bootstrap token, None when there is none."""

    async def offer_bootstrap(self, token_hash: bytes, *, replace: bool = True) -> bool:
        """Make a bootstrap token valid unless there is an admin; return whether this token is the valid one now.

        With ``replace=False`` an existing token stays valid.
        """
