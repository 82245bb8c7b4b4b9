"""Authentication: logins, sessions and API keys, and who the bearer of a token is; fails closed."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import NamedTuple

from structlog import get_logger

from pycalc.db.base import UserStore
from pycalc.errors import Forbidden, InvalidToken, Overloaded, RefreshTokenReused, Unauthorized
from pycalc.models.auth import Principal, User
from pycalc.services.accounts.access_tokens import TokenSigner
from pycalc.services.accounts.api_keys import PREFIX, ApiKeys
from pycalc.services.accounts.pacing import blur
from pycalc.services.accounts.passwords import PasswordHasher
from pycalc.services.accounts.sessions import OpenedSession, Sessions
from pycalc.services.accounts.token_cache import Bearers

_KEY_KEPT_SECONDS = 300.0
"""For how long a key is not looked up again; its revocation forgets it at once all the same."""

_audit = get_logger("pycalc.audit")


class Tokens(NamedTuple):
    """What a login or a refresh gives: shown to the client and nowhere else."""

    access: str
    refresh: str


class Authenticator:
    """Opens and ends sessions, and says who is calling."""

    def __init__(
        self,
        users: UserStore,
        sessions: Sessions,
        keys: ApiKeys,
        passwords: PasswordHasher,
        tokens: TokenSigner,
        bearers: Bearers,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._keys = keys
        self._passwords = passwords
        self._tokens = tokens
        self._bearers = bearers

    @property
    def token_lifetime(self) -> int:
        """Seconds that an access token is valid."""
        return self._tokens.lifetime

    def recognize(self, token: bytes) -> Principal | None:
        """Return the bearer of a token seen before; None says nothing: ask ``authenticate``."""
        return self._bearers.get(token)

    def user_of(self, token: bytes) -> bytes | None:
        """Return the id of the user who bore a token when it was last seen; it may have been revoked since.

        Any thread may ask: nothing is changed by it.
        """
        return self._bearers.user_of(token)

    async def authenticate(self, token: bytes) -> Principal:
        """Return the bearer of an access token or an API key; the role is the store's. Raises Unauthorized."""
        known = self._bearers.get(token)
        if known is not None:
            return known
        epoch = self._bearers.epoch
        try:
            text = token.decode("ascii")
        except UnicodeDecodeError:
            raise InvalidToken("The token is not valid.") from None
        bearer = await (self._bearer_of_key(text) if text.startswith(PREFIX) else self._bearer_of_session(text))
        self._bearers.keep(token, bearer, epoch)
        return bearer

    async def _bearer_of_session(self, token: str) -> Principal:
        claims = self._tokens.verify(token)
        user = await self._sessions.bearer(claims.user_id, claims.session_id)
        if user is None:
            raise InvalidToken("The session of this token has ended.")
        return Principal(user.id, user.username, user.role, claims.session_id, claims.expires_at)

    async def _bearer_of_key(self, text: str) -> Principal:
        key = await self._keys.bearer(text)
        if key is None:
            raise InvalidToken("The key is not valid, or not any more.")
        kept_until = time() + _KEY_KEPT_SECONDS
        until = kept_until if key.expires_ms is None else min(kept_until, key.expires_ms / 1000)
        return Principal(key.user.id, key.user.username, key.user.role, key.key_id, until, is_key=True)

    async def log_in(self, username: str, password: str) -> Tokens:
        """Open a session; raises Unauthorized without saying what was wrong, Overloaded."""
        user = await self._users.by_username(username)
        right = await self._passwords.check(password, user.password_hash if user else None)
        if not right or user is None or user.disabled:
            _audit.warning("login refused", user=username)
            await blur()
            raise Unauthorized("The username or the password is wrong.")
        session = await self._sessions.open(user.id, await self._upgraded(user, password))
        _audit.info("session opened", user=user.username)
        return self._issue(user, session)

    async def _upgraded(self, user: User, password: str) -> str:
        """Return the stored hash that the user's password was verified against, a new one where it was outdated."""
        if not self._passwords.outdated(user.password_hash):
            return user.password_hash
        try:
            upgraded = await self._passwords.hash(password)
        except Overloaded:  # then at the next login
            return user.password_hash
        if await self._users.upgrade_hash(user.id, user.password_hash, upgraded):
            return upgraded
        now = await self._users.by_id(user.id)  # another login has upgraded it, or the password is another
        right = now is not None and await self._passwords.check(password, now.password_hash)
        return now.password_hash if now is not None and right else user.password_hash

    async def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for new tokens; raises Unauthorized. Reuse of an old one ends its session."""
        try:
            user, session = await self._sessions.refresh(refresh_token)
        except RefreshTokenReused as reuse:
            ended = reuse.session_id
            self._bearers.end(lambda bearer: bearer.credential_id == ended)
            raise
        return self._issue(user, session)

    async def log_out(self, caller: Principal) -> None:
        """End the caller's session: its tokens are refused from now on."""
        require_session(caller)
        ended = caller.credential_id
        await self._bearers.revoke(self._sessions.close(ended), lambda bearer: bearer.credential_id == ended)
        _audit.info("session ended", user=caller.username)

    async def log_out_all(self, caller: Principal) -> None:
        """End all of the caller's sessions; its API keys stay."""
        require_session(caller)
        await self._bearers.revoke(
            self._sessions.close_all(caller.user_id),
            lambda bearer: bearer.user_id == caller.user_id and not bearer.is_key,
        )
        _audit.info("all sessions ended", user=caller.username)

    def replace_keys(self, keys: Sequence[str]) -> None:
        """Sign with the first of these keys, and accept tokens signed by any of them and no other, from now on."""
        self._tokens.replace_keys(keys)
        self._bearers.forget(lambda bearer: not bearer.is_key)
        _audit.info("signing keys replaced", newest=self._tokens.newest, listed=len(keys))

    def _issue(self, user: User, session: OpenedSession) -> Tokens:
        return Tokens(self._tokens.issue(user.id, session.id), session.refresh_token)


def require_session(caller: Principal) -> None:
    """Raise Forbidden for an API key: a program's key must not make keys, change passwords or end sessions."""
    if caller.is_key:
        raise Forbidden("This needs a session: log in.")
