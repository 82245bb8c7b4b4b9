"""Accounts: registration, a user's own password, and administration and listing by admins."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import time
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter
from structlog import get_logger

from pycalc.db.base import DeletedAccount, Deletion, UserListStore, UserSelection, UserStore
from pycalc.errors import Conflict, FieldProblem, Forbidden, InvalidInput, NotFound, WrongPassword
from pycalc.models.auth import DeletedHistory, ListedUser, Principal, Registration, Role, User, UserChange, UserOrder
from pycalc.models.ids import IdSource, id_of_text, now_ms, text_of_id
from pycalc.services.accounts.api_keys import ApiKeys
from pycalc.services.accounts.audit_log import COMMAND_LINE, AuditLog
from pycalc.services.accounts.authorization import own_account
from pycalc.services.accounts.passwords import PasswordHasher, require_uncommon
from pycalc.services.accounts.token_cache import TokenCache, is_named

AdminRegistration = Literal["bootstrap", "open", "closed"]

_log = get_logger(__name__)

_NameOrTime = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")] | Annotated[int, Field(ge=0, lt=2**63, strict=True)]
_Cursor = TypeAdapter(tuple[UserOrder, _NameOrTime, str])


class AccountPolicy(NamedTuple):
    """The rules for new accounts, and for the history and the name of deleted ones."""

    admin_registration: AdminRegistration
    passwords_allowed: bool  # without passwords, nobody can register
    on_admin_created: Callable[[], None]
    history: DeletedHistory
    reserved: timedelta | None  # how long nobody can register the name; None means for ever
    on_deleted: Callable[[DeletedAccount], None]  # called if the history must be erased or made anonymous


@dataclass(eq=False)
class Accounts:
    """The service that creates, changes and deletes accounts, and writes each change to the audit log."""

    users: UserStore
    keys: ApiKeys
    passwords: PasswordHasher
    token_cache: TokenCache
    ids: IdSource
    audit: AuditLog
    policy: AccountPolicy

    async def register(self, registration: Registration, caller: Principal | None, bootstrap_token: str | None) -> User:
        """Create an account. PYCALC_ADMIN_REGISTRATION determines who may register an admin.

        ``caller`` is None for a client without credentials. Raises Conflict, Forbidden, InvalidInput, Unauthorized and
        Overloaded.
        """
        if not self.policy.passwords_allowed:
            raise Forbidden("Passwords are switched off here: sign in with GET /oidc/login.")
        require_uncommon(registration.password, "/password", registration.username, registration.email)
        bootstrap_hash = admin_id = None
        rule = self.policy.admin_registration
        if registration.role is Role.ADMIN and rule != "open":
            if rule == "bootstrap" and bootstrap_token is not None:
                bootstrap_hash = sha256(bootstrap_token.encode()).digest()
            elif rule == "bootstrap" and caller is not None and not caller.is_key:
                await self.require_admin(caller)
                admin_id = caller.user_id
            else:
                raise Forbidden("Registering an admin needs an admin's token or the bootstrap token.")
        return await self._create(registration, caller.username if caller else None, bootstrap_hash, admin_id)

    async def create_admin(self, registration: Registration) -> None:
        """Create an admin for the command `pycalc admin create`. The first admin makes the bootstrap token invalid.

        Raises Conflict, InvalidInput and Overloaded. Raises Forbidden if another process creates the first admin
        meanwhile.
        """
        require_uncommon(registration.password, "/password", registration.username, registration.email)
        bootstrap_hash = None if await self.users.has_admin() else await self.users.bootstrap_hash()
        await self._create(registration, COMMAND_LINE, bootstrap_hash, None)

    async def _create(
        self, registration: Registration, by: str | None, bootstrap_hash: bytes | None, admin_id: bytes | None
    ) -> User:
        # The transaction that inserts the account checks the bootstrap token and the admin who creates the account.
        user = User(
            id=self.ids.next(),
            username=registration.username,
            email=registration.email,
            password_hash=await self.passwords.hash(registration.password),
            role=registration.role,
            created_at=datetime.fromtimestamp(now_ms() / 1000, UTC),
        )
        entry = self.audit.entry("account created", subject=user.username, actor=by, role=user.role.value)
        await self.users.add(user, burn_bootstrap=bootstrap_hash, granted_by=admin_id, audit=entry)
        self.audit.write(entry)
        if user.role is Role.ADMIN:
            try:
                self.policy.on_admin_created()
            except OSError as error:  # the account is stored, so the token in the file is no longer valid
                _log.warning("the file of the used bootstrap token was not removed", error=str(error))
        return user

    async def own(self, caller: Principal) -> User:
        """Return the caller's account; raises Unauthorized if the account is deleted or disabled."""
        return await own_account(self.users, caller)

    async def with_password(self, caller: Principal, password: str, refusal: str, advice: str) -> User:
        """Return the caller's account, whose password must be ``password``.

        Raises WrongPassword for another password, and records it in the audit log as ``refusal``. Raises Conflict with
        ``advice`` for an account without a password, Unauthorized and Overloaded.
        """
        user = await self.own(caller)
        if not user.has_password:
            raise Conflict(f"The account has no password: {advice}.")
        if not await self.passwords.check(password, user.password_hash):
            self.audit.record_own(user.username, refusal, "refused")
            raise WrongPassword("The current password is wrong.")
        return user

    async def change_password(self, caller: Principal, current: str, new: str) -> None:
        """Store a new password and end the caller's other sessions.

        Raises InvalidInput if ``new`` is easy to guess, and the errors of ``with_password``.
        """
        user = await self.with_password(caller, current, "password change refused", "the identity provider signs it in")
        require_uncommon(new, "/new_password", user.username, user.email)
        kept = caller.credential_id
        await self.token_cache.revoke(
            self.users.set_password(user.id, user.password_hash, await self.passwords.hash(new), kept),
            lambda other: other.user_id == user.id and not other.is_key and other.credential_id != kept,
        )
        self.audit.record_own(user.username, "password changed")

    async def named(self, caller: Principal, username: str) -> User:
        """Return the account with this name to an admin; raises Unauthorized, Forbidden and NotFound."""
        await self.require_admin(caller)
        user = await self.users.by_username(username)
        if user is None:
            raise NotFound("There is no such user.")
        return user

    async def change(self, caller: Principal, username: str, change: UserChange) -> User:
        """Change the role or the limits of an account, or disable or enable it, and return the changed account.

        Raises Unauthorized, Forbidden and NotFound. Raises Conflict if no enabled admin would be left.
        """
        await self.require_admin(caller)
        changed = change.model_dump(mode="json", exclude_unset=True)
        entry = self.audit.entry("account changed", subject=username, actor=caller.username, changed=changed)
        changing = self.users.change(
            username, change.role, change.disabled, change.quota, granted_by=caller.user_id, audit=entry
        )
        user = await self.token_cache.revoke(changing, is_named(username))
        self.keys.forget_unknown()
        self.audit.write(entry._replace(subject=user.username))
        return user

    async def delete(self, caller: Principal, username: str) -> None:
        """Delete an account. Its tokens are refused at once by this process, and within seconds by the others.

        Raises Unauthorized, Forbidden and NotFound. Raises Conflict for the last enabled admin.
        """
        await self.require_admin(caller)
        await self._delete(caller, username, None)

    async def delete_own(self, caller: Principal, password: str) -> None:
        """Delete the caller's account, as ``delete`` does.

        Raises Conflict for the last enabled admin, NotFound if the account is deleted meanwhile, and the errors of
        ``with_password``.
        """
        user = await self.with_password(caller, password, "account deletion refused", "ask an admin to delete it")
        await self._delete(caller, user.username, user.password_hash)

    async def _delete(self, caller: Principal, username: str, password_hash: str | None) -> None:
        """Delete an account as an admin, or one's own while it still has the hash ``password_hash``."""
        history, reserved, now = self.policy.history, self.policy.reserved, now_ms()
        # Without an end, the name is reserved until the largest time that the database stores.
        until = 2**63 - 1 if reserved is None else now + reserved // timedelta(milliseconds=1)
        entry = self.audit.entry("account deleted", subject=username, actor=caller.username, history=history)
        deletion = Deletion(history, now, until, password_hash)
        granted_by = caller.user_id if password_hash is None else None
        deleting = self.users.delete(username, deletion, granted_by=granted_by, audit=entry)
        user = await self.token_cache.revoke(deleting, is_named(username))
        if history != "keep":
            self.policy.on_deleted(DeletedAccount(user.id, history == "erase", now))
        self.audit.write(entry._replace(subject=user.username))

    async def require_admin(self, caller: Principal) -> None:
        """Raise Forbidden if the account's stored role is not admin, Unauthorized if it is deleted or disabled."""
        # Not the role in a cached token, which may be outdated.
        if (await self.own(caller)).role is not Role.ADMIN:
            raise Forbidden("Only an admin may do this.")


@dataclass(eq=False)
class AccountList:
    """A reader of the list of accounts. Its callers must ensure that the user is an admin."""

    users: UserListStore

    async def page(
        self, prefix: str | None, order: UserOrder, cursor: str | None, limit: int, *, descending: bool
    ) -> tuple[list[ListedUser], str | None]:
        """Return up to ``limit`` accounts with today's usage, and the next page's cursor, or None on the last page.

        The day begins at midnight UTC. Select the accounts whose name or email address begins with ``prefix``, or all
        if it is None; accounts from the identity provider are found by their name only. Raises InvalidInput for a
        malformed cursor, and for a cursor of another order.
        """
        after = None
        if cursor is not None:
            try:
                text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
                of_order, value, identity = _Cursor.validate_json(text)
                if of_order is not order or isinstance(value, str) is not (order is UserOrder.USERNAME):
                    raise ValueError("a cursor of another order")
                after = value, id_of_text(identity)
            except ValueError:
                detail = "cursor must be the next_cursor of a page in the same order."
                raise InvalidInput.of(FieldProblem("/cursor", detail)) from None
        selection = UserSelection(prefix, order, descending, after)
        listed = await self.users.page(selection, limit + 1, int(time()) // 86_400)
        if len(listed) <= limit:
            return listed, None
        last = listed[limit - 1]
        position = json.dumps([order, last.order_value, text_of_id(last.user.id)])
        return listed[:limit], base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()
