"""Password resets: an admin creates a one-time token, with which a user sets a new password instead of a lost one."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256

from pycalc.db.base import PasswordResetStore
from pycalc.errors import Conflict, Forbidden, Unauthorized
from pycalc.models.auth import Principal
from pycalc.models.ids import now_ms
from pycalc.services.accounts.accounts import Accounts
from pycalc.services.accounts.passwords import require_uncommon
from pycalc.services.accounts.token_cache import is_session_of

LIFETIME_MS = 3_600_000
_PREFIX = "pcp_"
_FORM = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")
_REFUSAL = "The password reset's token is invalid, expired or used."


@dataclass(eq=False)
class PasswordResets:
    """The service that creates and redeems password-reset tokens. A user has at most one; only its hash is stored."""

    store: PasswordResetStore
    accounts: Accounts

    async def create(self, caller: Principal, username: str) -> tuple[str, int]:
        """Create a token in place of the user's earlier one. Return it and its expiry in milliseconds since the epoch.

        Raises NotFound, Conflict for an account without a password, and Unauthorized. Raises Forbidden if the caller is
        not an admin, and for the caller's own account, because a change of one's own password needs the old one.
        """
        user = await self.accounts.named(caller, username)
        if user.id == caller.user_id:
            raise Forbidden("Change your own password with PUT /me/password.")
        if not user.has_password:
            raise Conflict("The account has no password: the identity provider signs it in.")
        token, expires_ms = _PREFIX + secrets.token_urlsafe(32), now_ms() + LIFETIME_MS
        await self.store.offer(user.id, sha256(token.encode()).digest(), expires_ms, caller.user_id)
        self.accounts.audit.record("password reset created", subject=user.username, actor=caller.username)
        return token, expires_ms

    async def use(self, token: str, password: str) -> None:
        """Redeem a token: set the new password of its user, and end all of the user's sessions.

        Raises Unauthorized for an invalid token, InvalidInput for a password that is easy to guess, and Overloaded.
        """
        if _FORM.fullmatch(token) is None:
            raise Unauthorized(_REFUSAL)
        token_hash = sha256(token.encode()).digest()
        user = await self.store.owner(token_hash, now_ms())
        if user is None:
            raise Unauthorized(_REFUSAL)
        require_uncommon(password, "/new_password", user.username, user.email)
        hashed = await self.accounts.passwords.hash(password)
        await self.accounts.token_cache.revoke(self.store.use(token_hash, now_ms(), hashed), is_session_of(user.id))
        self.accounts.audit.record_own(user.username, "password reset used")
