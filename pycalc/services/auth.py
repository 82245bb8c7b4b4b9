"""Accounts: registration, login, and who the bearer of a token is."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from hashlib import sha256
from time import time
from typing import Literal, NamedTuple

from structlog import get_logger

from pycalc.db.base import UserStore
from pycalc.errors import Forbidden, Unauthorized
from pycalc.models.auth import Principal, Registration, Role, User
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.services.passwords import PasswordHasher
from pycalc.services.sessions import OpenedSession, Reused, Sessions
from pycalc.services.tokens import TokenSigner

AdminRegistration = Literal["bootstrap", "open", "closed"]

_log = get_logger(__name__)


class _KnownTokens:
    """Verified tokens and their bearers, a bounded LRU."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._bearers: OrderedDict[bytes, Principal] = OrderedDict()
        self.epoch = 0
        """Counts revocations: what was read from the store before one must not be kept after it."""

    def __len__(self) -> int:
        return len(self._bearers)

    def get(self, token: bytes) -> Principal | None:
        """Return the bearer of a token that was verified before and has not expired."""
        bearer = self._bearers.get(token)
        if bearer is None:
            return None
        if bearer.expires_at <= time():
            del self._bearers[token]
            return None
        self._bearers.move_to_end(token)
        return bearer

    def keep(self, token: bytes, bearer: Principal, epoch: int) -> None:
        """Keep a bearer that was read from the store at ``epoch``, unless there was a revocation since."""
        if epoch != self.epoch:
            return
        self._bearers[token] = bearer
        if len(self._bearers) > self._limit:
            self._bearers.popitem(last=False)

    def forget(self, revoked: Callable[[Principal], bool]) -> None:
        """Forget the tokens of all bearers that are revoked, and what is being read from the store just now."""
        self.epoch += 1
        for token in [token for token, bearer in self._bearers.items() if revoked(bearer)]:
            del self._bearers[token]


class Tokens(NamedTuple):
    """What a login or a refresh gives: shown to the client and nowhere else."""

    access: str
    refresh: str


class Authenticator:
    """Keeps accounts and says who is calling; fails closed."""

    def __init__(
        self,
        users: UserStore,
        sessions: Sessions,
        passwords: PasswordHasher,
        tokens: TokenSigner,
        ids: IdSource,
        metrics: Metrics,
        admin_registration: AdminRegistration,
        bootstrapped: Callable[[], None],
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._tokens = tokens
        self._ids = ids
        self._admin_registration = admin_registration
        self._bootstrapped = bootstrapped
        self._known = _KnownTokens()
        metrics.tokens_cached.set_function(lambda: len(self._known))

    @property
    def token_lifetime(self) -> int:
        """Seconds that an access token is valid."""
        return self._tokens.lifetime

    def recognize(self, token: bytes) -> Principal | None:
        """Return the bearer of a token seen before; None says nothing: ask ``authenticate``."""
        return self._known.get(token)

    async def authenticate(self, token: bytes) -> Principal:
        """Return the bearer of a token; the role is the store's. Raises Unauthorized."""
        known = self._known.get(token)
        if known is not None:
            return known
        try:
            claims = self._tokens.verify(token.decode("ascii"))
        except UnicodeDecodeError:
            raise Unauthorized("The token is not valid.") from None
        epoch = self._known.epoch
        user = await self._sessions.bearer(claims.user_id, claims.session_id)
        if user is None:
            raise Unauthorized("The session of this token has ended.")
        bearer = Principal(user.id, user.username, user.role, claims.session_id, claims.expires_at)
        self._known.keep(token, bearer, epoch)
        return bearer

    async def register(self, registration: Registration, caller: Principal | None, bootstrap_token: str | None) -> User:
        """Create an account; an admin's needs what the setting asks for. Raises Conflict, Forbidden, Overloaded."""
        burn = await self._admission_to_admin(caller, bootstrap_token) if registration.role is Role.ADMIN else None
        now = datetime.now(UTC)
        user = User(
            id=self._ids.next(),
            username=registration.username,
            email=registration.email,
            password_hash=await self._passwords.hash(registration.password),
            role=registration.role,
            created_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
        )
        await self._users.add(user, burn_bootstrap=burn)
        if burn is not None:
            self._bootstrapped()
        _log.info("account created", user=user.username, role=user.role.value, by=caller.username if caller else None)
        return user

    async def log_in(self, username: str, password: str) -> Tokens:
        """Open a session; raises Unauthorized without saying what was wrong, Overloaded."""
        user = await self._users.by_username(username)
        if not await self._passwords.check(password, user.password_hash if user else None) or user is None:
            raise Unauthorized("The username or the password is wrong.")
        return self._issue(user, await self._sessions.open(user.id))

    async def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for new tokens; raises Unauthorized. Reuse of an old one ends its session."""
        try:
            user, session = await self._sessions.refresh(refresh_token)
        except Reused as reuse:
            ended = reuse.session_id
            self._known.forget(lambda bearer: bearer.session_id == ended)
            raise
        return self._issue(user, session)

    async def log_out(self, caller: Principal) -> None:
        """End the caller's session: its tokens are refused from now on."""
        await asyncio.shield(
            self._revoke(self._sessions.close(caller.session_id), lambda bearer: bearer.session_id == caller.session_id)
        )

    async def log_out_all(self, caller: Principal) -> None:
        """End all of the caller's sessions."""
        await asyncio.shield(
            self._revoke(self._sessions.close_all(caller.user_id), lambda bearer: bearer.user_id == caller.user_id)
        )

    async def change_password(self, caller: Principal, current: str, new: str) -> None:
        """Store a new password and end the caller's other sessions; raises Forbidden for a wrong current one."""
        user = await self.account(caller)
        if not await self._passwords.check(current, user.password_hash):
            raise Forbidden("The current password is wrong.")
        change = self._users.set_password(user.id, await self._passwords.hash(new), caller.session_id)
        await asyncio.shield(
            self._revoke(
                change, lambda bearer: bearer.user_id == caller.user_id and bearer.session_id != caller.session_id
            )
        )

    async def _revoke(self, change: Coroutine[None, None, object], revoked: Callable[[Principal], bool]) -> None:
        """Change the store and forget the tokens that this revokes: a client that hangs up must not part the two."""
        try:
            await change
        finally:
            self._known.forget(revoked)

    def _issue(self, user: User, session: OpenedSession) -> Tokens:
        return Tokens(self._tokens.issue(user.id, session.id), session.refresh_token)

    async def account(self, caller: Principal) -> User:
        """Return the caller's account; raises Unauthorized when it is gone."""
        user = await self._users.by_id(caller.user_id)
        if user is None:
            raise Unauthorized("The account does not exist any more.")
        return user

    async def delete_user(self, caller: Principal, username: str) -> None:
        """Delete an account; its tokens are refused from now on. Raises Forbidden, NotFound, Conflict."""
        await self._require_admin(caller)
        name = username.lower()
        await asyncio.shield(self._revoke(self._users.delete(username), lambda bearer: bearer.username.lower() == name))
        _log.info("account deleted", user=username, by=caller.username)

    async def _require_admin(self, caller: Principal) -> None:
        """Ask the store, not the kept token, whether the caller is an admin."""
        if (await self.account(caller)).role is not Role.ADMIN:
            raise Forbidden("Only an admin may do this.")

    async def _admission_to_admin(self, caller: Principal | None, bootstrap_token: str | None) -> bytes | None:
        """Return the hash of the bootstrap token to burn, if it is that which allows a new admin; raises Forbidden."""
        if self._admin_registration == "open":
            return None
        if self._admin_registration == "bootstrap":
            if bootstrap_token is not None:
                return sha256(bootstrap_token.encode()).digest()
            if caller is not None:
                await self._require_admin(caller)
                return None
        _log.warning("admin registration refused", by=caller.username if caller else None)
        raise Forbidden("Registering an admin needs an admin's token or the bootstrap token.")
