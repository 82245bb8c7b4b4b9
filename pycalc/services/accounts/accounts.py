"""Accounts: registration, one's own password and keys, and what admins do; grants and revocations are audited."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, NamedTuple

from structlog import get_logger

from pycalc.db.base import UserStore
from pycalc.errors import FieldProblem, Forbidden, InvalidInput, InvalidToken, NotFound, WrongPassword
from pycalc.models.auth import Principal, Registration, Role, StoredKey, User
from pycalc.models.ids import IdSource
from pycalc.services.accounts.api_keys import ApiKeys
from pycalc.services.accounts.authenticator import require_session
from pycalc.services.accounts.pacing import Pace
from pycalc.services.accounts.passwords import PasswordHasher, require_uncommon
from pycalc.services.accounts.token_cache import Bearers

AdminRegistration = Literal["bootstrap", "open", "closed"]

_audit = get_logger("pycalc.audit")


class _Grant(NamedTuple):
    """What allows an account to be made; the store looks at it once more when it makes the account."""

    burn: bytes | None = None
    """The hash of the bootstrap token, which is used up."""
    admin: bytes | None = None
    """The id of the admin who asks."""


class Accounts:
    """Keeps accounts. What admins do is decided by the store, not by a kept token."""

    def __init__(
        self,
        users: UserStore,
        keys: ApiKeys,
        passwords: PasswordHasher,
        bearers: Bearers,
        ids: IdSource,
        admin_registration: AdminRegistration,
        bootstrapped: Callable[[], None],
    ) -> None:
        self._users = users
        self._keys = keys
        self._passwords = passwords
        self._bearers = bearers
        self._ids = ids
        self._admin_registration = admin_registration
        self._bootstrapped = bootstrapped
        self._pace = Pace()

    async def register(self, registration: Registration, caller: Principal | None, bootstrap_token: str | None) -> User:
        """Create an account; an admin's needs what the setting asks for. Raises Conflict, Forbidden, Overloaded."""
        require_uncommon(registration.password, "/password", registration.username, registration.email)
        admin = registration.role is Role.ADMIN
        grant = await self._admission_to_admin(caller, bootstrap_token) if admin else _Grant()
        user = await self._create(registration, grant, caller.username if caller else None)
        if grant.burn is not None:
            self._bootstrapped()
        return user

    async def create_admin(self, registration: Registration) -> None:
        """Create an admin for who keeps the service; it uses up the bootstrap token. Raises Conflict, InvalidInput."""
        require_uncommon(registration.password, "/password", registration.username, registration.email)
        burn = None if await self._users.has_admin() else await self._users.bootstrap_hash()
        await self._create(registration, _Grant(burn=burn), "the command line")
        self._bootstrapped()

    async def _create(self, registration: Registration, grant: _Grant, by: str | None) -> User:
        now = datetime.now(UTC)
        user = User(
            id=self._ids.next(),
            username=registration.username,
            email=registration.email,
            password_hash=await self._passwords.hash(registration.password),
            role=registration.role,
            created_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
        )
        await self._pace.keep(self._users.add(user, burn_bootstrap=grant.burn, granted_by=grant.admin))
        _audit.info("account created", user=user.username, role=user.role.value, by=by)
        return user

    async def own(self, caller: Principal) -> User:
        """Return the caller's account; raises Unauthorized when it is gone or disabled."""
        user = await self._users.by_id(caller.user_id)
        if user is None or user.disabled:
            raise InvalidToken("The account does not exist any more.")
        return user

    async def change_password(self, caller: Principal, current: str, new: str) -> None:
        """Store a new password and end the caller's other sessions; raises Forbidden, Unauthorized, WrongPassword."""
        require_session(caller)
        user = await self.own(caller)
        require_uncommon(new, "/new_password", user.username, user.email)
        if not await self._passwords.check(current, user.password_hash):
            _audit.warning("password change refused", user=caller.username)
            raise WrongPassword("The current password is wrong.")
        kept = caller.credential_id
        await self._bearers.revoke(
            self._users.set_password(user.id, user.password_hash, await self._passwords.hash(new), kept),
            lambda bearer: bearer.user_id == user.id and not bearer.is_key and bearer.credential_id != kept,
        )
        _audit.info("password changed", user=user.username)

    async def create_key(self, caller: Principal, name: str, expires_in: int | None) -> tuple[StoredKey, str]:
        """Return a new API key and its text, which is shown this once; raises Conflict when there are too many."""
        require_session(caller)
        key, text = await self._keys.create(caller.user_id, name, expires_in)
        _audit.info("key created", user=caller.username, key=key.prefix)
        return key, text

    async def keys(self, caller: Principal) -> list[StoredKey]:
        """Return the caller's API keys, oldest first."""
        return await self._keys.of_user(caller.user_id)

    async def key(self, caller: Principal, key_id: bytes) -> StoredKey:
        """Return one of the caller's API keys; raises NotFound."""
        for key in await self._keys.of_user(caller.user_id):
            if key.id == key_id:
                return key
        raise NotFound("There is no such key.")

    async def remove_key(self, caller: Principal, key_id: bytes) -> None:
        """Remove one of the caller's API keys: it is refused from now on. Raises NotFound."""
        require_session(caller)
        prefixes = {key.id: key.prefix for key in await self._keys.of_user(caller.user_id)}
        await self._bearers.revoke(
            self._keys.remove(caller.user_id, key_id), lambda bearer: bearer.credential_id == key_id
        )
        _audit.info("key removed", user=caller.username, key=prefixes.get(key_id))

    async def page(self, caller: Principal, cursor: str | None, limit: int) -> tuple[list[User], str | None]:
        """Return up to ``limit`` accounts by name, and the cursor of the next page; admins only."""
        await self._require_admin(caller)
        users = await self._users.page(None if cursor is None else _name_of(cursor), limit + 1)
        following = _cursor_of(users[limit - 1].username) if len(users) > limit else None
        return users[:limit], following

    async def named(self, caller: Principal, username: str) -> User:
        """Return an account; admins only; raises NotFound."""
        await self._require_admin(caller)
        user = await self._users.by_username(username)
        if user is None:
            raise NotFound("There is no such user.")
        return user

    async def change(self, caller: Principal, username: str, role: Role | None, disabled: bool | None) -> User:
        """Change an account's role, or disable it; holds from now on. Admins only; raises NotFound, Conflict."""
        await self._require_admin(caller)
        name = username.lower()
        user = await self._bearers.revoke(
            self._users.change(username, role, disabled), lambda bearer: bearer.username.lower() == name
        )
        self._keys.forget_unknown()
        asked = {"role": role, "disabled": disabled}
        changed = {name: value for name, value in asked.items() if value is not None}
        _audit.info("account changed", user=user.username, changed=changed, by=caller.username)
        return user

    async def delete(self, caller: Principal, username: str) -> None:
        """Delete an account; its tokens are refused from now on. Admins only; raises NotFound, Conflict."""
        await self._require_admin(caller)
        name = username.lower()
        user = await self._bearers.revoke(self._users.delete(username), lambda bearer: bearer.username.lower() == name)
        _audit.info("account deleted", user=user.username, by=caller.username)

    async def _require_admin(self, caller: Principal) -> None:
        """Ask the store, not the kept token, whether the caller is an admin; a program's key is none."""
        require_session(caller)
        if (await self.own(caller)).role is not Role.ADMIN:
            raise Forbidden("Only an admin may do this.")

    async def _admission_to_admin(self, caller: Principal | None, bootstrap_token: str | None) -> _Grant:
        """Return what allows a new admin; raises Forbidden."""
        if self._admin_registration == "open":
            return _Grant()
        if self._admin_registration == "bootstrap":
            if bootstrap_token is not None:
                return _Grant(burn=sha256(bootstrap_token.encode()).digest())
            if caller is not None:
                await self._require_admin(caller)
                return _Grant(admin=caller.user_id)
        raise Forbidden("Registering an admin needs an admin's token or the bootstrap token.")


def _cursor_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.lower().encode()).rstrip(b"=").decode()


def _name_of(cursor: str) -> str:
    try:
        name = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        name = ""
    if not name.isprintable() or not name:
        raise InvalidInput.of(FieldProblem("/cursor", "cursor must be a page's next_cursor."))
    return name
