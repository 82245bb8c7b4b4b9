"""Authentication by password, access token, refresh token or API key. If a check can't run, access is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from random import SystemRandom
from time import time

from pycalc.db.base import UserStore
from pycalc.errors import Forbidden, InvalidToken, NotFound, Overloaded, RefreshTokenReused, Unauthorized
from pycalc.models.auth import SESSION_RIGHTS, Device, Principal, StoredSession, User
from pycalc.models.ids import now_ms
from pycalc.models.limits import KEY_NAME, NO_KEY_LIMITS, UserLimits
from pycalc.services.accounts.api_keys import PREFIX, ApiKeys
from pycalc.services.accounts.audit_log import SERVICE
from pycalc.services.accounts.authorization import LimitPolicy
from pycalc.services.accounts.passwords import PasswordHasher
from pycalc.services.accounts.sessions import LIMITS, Sessions, Tokens
from pycalc.services.accounts.token_cache import TokenCache, is_session_of
from pycalc.services.accounts.totp import Totp

_KEY_CACHE_SECONDS = 300.0
_JITTER_SECONDS = 0.02

_random = SystemRandom()


@dataclass(eq=False)
class Authenticator:
    """The service that identifies callers, and opens and ends their sessions."""

    users: UserStore
    sessions: Sessions
    keys: ApiKeys
    passwords: PasswordHasher
    token_cache: TokenCache
    totp: Totp
    limits: LimitPolicy
    # Called with each principal that was not in the cache, except admins who must enrol a second factor.
    identified: Callable[[Principal], None]
    admins_need_totp: bool = False  # an admin without a second factor can only enrol one
    passwords_allowed: bool = True

    async def authenticate(self, token: bytes, *, enrolling: bool = False) -> Principal:
        """Return the principal of an access token or an API key, from the cache or else from the store.

        A change of the account by another process may take some seconds to show. Raises Unauthorized if the token or
        key is not valid, and Overloaded if too many keys wait for their look-up. Raises Forbidden for an admin who must
        enrol a second factor, unless this request enrols it (``enrolling``).
        """
        cached = self.token_cache.get(token)
        if cached is not None:
            return cached
        epoch = self.token_cache.epoch
        try:
            text = token.decode("ascii")
        except UnicodeDecodeError:
            raise InvalidToken("The token is invalid: a token is ASCII text.") from None
        key = None
        if text.startswith(PREFIX):
            bearer = await self.keys.bearer(text)
            if bearer is None:
                raise InvalidToken("The API key is invalid, expired or revoked.")
            user, key = bearer
            credential = key.id
            until = min(time() + _KEY_CACHE_SECONDS, inf if key.expires_ms is None else key.expires_ms / 1000)
        else:
            user, claims = await self.sessions.bearer(text)
            credential, until = claims.session_id, claims.expires_at
        principal = Principal(
            user.id,
            user.username,
            user.role,
            credential,
            until,
            frozenset(key.scopes.split()) if key else SESSION_RIGHTS,
            allow_query=key is not None and key.allow_query,
            limits=self.limits.of(user),
            second_factor=user.second_factor,
        )
        if key and key.limits != NO_KEY_LIMITS:
            own = key.limits.in_place_of(UserLimits(prefix=KEY_NAME))
            principal = replace(principal, key=replace(principal, user_id=key.id, limits=own))
        if self.admins_need_totp and principal.is_admin and not principal.second_factor:
            if not enrolling:
                raise Forbidden("An admin needs a second factor here: enrol one with POST /me/totp.")
            return principal  # not cached, so that each request of this admin is checked here
        self.token_cache.put(token, principal, epoch)
        self.identified(principal)
        return principal

    async def log_in(
        self, username: str, password: str, code: str | None = None, device: Device | None = None
    ) -> Tokens:
        """Open a session on a device; raises Unauthorized, Overloaded, and Forbidden if passwords are switched off.

        The error is the same for an unknown user, a wrong password and a disabled account. An account with a second
        factor needs a ``code`` too: without one, TotpRequired is raised, a subclass of Unauthorized.
        """
        if not self.passwords_allowed:
            raise Forbidden("Passwords are switched off here: sign in with GET /oidc/login.")
        user = await self.users.by_username(username)
        right = await self.passwords.check(password, user.password_hash if user else None)
        if not right or user is None or user.disabled:
            self.sessions.audit.record("login refused", username, None, "refused")
            # Finding no row is 30 µs faster than reading one. Jitter hides this in the attempts that the limits allow.
            await asyncio.sleep(_random.uniform(0, _JITTER_SECONDS))
            raise Unauthorized("The username or the password is wrong.")
        await self.totp.check_login(user, code)
        tokens = await self.sessions.open(user.id, await self._upgraded(user, password), device, totp=user.totp)
        self.sessions.audit.record_own(user.username, "session opened")
        return tokens

    async def _upgraded(self, user: User, password: str) -> str:
        """Replace the user's password hash if it is outdated. Return the stored hash of this password.

        If the password was changed meanwhile, return the old hash, with which no session can be opened.
        """
        if not self.passwords.outdated(user.password_hash):
            return user.password_hash
        try:
            upgraded = await self.passwords.hash(password)
        except Overloaded:  # the next login upgrades the hash
            return user.password_hash
        if await self.users.upgrade_hash(user.id, user.password_hash, upgraded):
            return upgraded
        now = await self.users.by_id(user.id)  # another login has upgraded the hash, or the password was changed
        right = now is not None and await self.passwords.check(password, now.password_hash)
        return now.password_hash if now is not None and right else user.password_hash

    async def refresh(self, refresh_token: str, device: Device | None = None) -> Tokens:
        """Exchange a refresh token for new tokens; raises Unauthorized and Overloaded.

        Reuse of an old token ends its session and raises RefreshTokenReused, a subclass of Unauthorized.
        """
        try:
            return await self.sessions.refresh(refresh_token, device)
        except RefreshTokenReused as reuse:
            ended = reuse.session_id
            self.token_cache.evict(lambda principal: principal.credential_id == ended)
            self.token_cache.notify()
            raise

    async def log_out(self, caller: Principal) -> None:
        """End the caller's session as ``end_session`` does."""
        with suppress(NotFound):  # another request has ended the session
            await self.end_session(caller, caller.credential_id)

    async def sessions_of(self, caller: Principal) -> list[StoredSession]:
        """Return the caller's open sessions, the most recently used first."""
        return await self.sessions.store.of_user(caller.user_id, now_ms(), LIMITS)

    async def end_session(self, caller: Principal, session_id: bytes) -> None:
        """End a session of the caller, and raise NotFound if the caller has no such session.

        This process refuses the session's tokens at once, the others within seconds.
        """
        await self.token_cache.revoke(
            self.sessions.store.close(caller.user_id, session_id),
            lambda principal: (principal.user_id, principal.credential_id) == (caller.user_id, session_id),
        )
        self.sessions.audit.record_own(caller.username, "session ended")

    async def log_out_all(self, caller: Principal) -> None:
        """End all of the caller's sessions, but keep the API keys valid."""
        closing = self.sessions.store.close_all(caller.user_id, None)
        await self.token_cache.revoke(closing, is_session_of(caller.user_id))
        self.sessions.audit.record_own(caller.username, "all sessions ended")

    async def end_sessions(self, admin: Principal, user: User) -> None:
        """End all sessions of a user on behalf of an admin, but keep the user's API keys valid.

        Raises Forbidden if the admin has lost the role.
        """
        closing = self.sessions.store.close_all(user.id, admin.user_id)
        await self.token_cache.revoke(closing, is_session_of(user.id))
        self.sessions.audit.record("all sessions ended", subject=user.username, actor=admin.username)

    def replace_keys(self, keys: Sequence[str]) -> None:
        """From now on, sign access tokens with the first of ``keys``, and refuse tokens that none of them has signed.

        Raises ValueError for an empty list.
        """
        self.sessions.signer.replace_keys(keys)
        self.token_cache.evict(lambda principal: not principal.is_key)
        newest = self.sessions.signer.newest
        self.sessions.audit.record("signing keys replaced", None, SERVICE, newest=newest, listed=len(keys))
