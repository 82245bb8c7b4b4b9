"""Sign-in through the identity provider: the authorization-code flow of OpenID Connect, with PKCE (RFC 7636)."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from pycalc.db.base import ProviderIdentity, UserStore
from pycalc.errors import Conflict, Unauthorized, Unavailable
from pycalc.models.auth import LONGEST_USERNAME, NO_PASSWORD, Device, Role, User
from pycalc.models.ids import IdSource, now_ms
from pycalc.services.accounts.oidc.id_tokens import Identity, Requirement, key_id_of, verify
from pycalc.services.accounts.oidc.provider import Provider
from pycalc.services.accounts.sessions import Sessions, Tokens
from pycalc.services.accounts.token_cache import TokenCache, is_named

_BY = "the identity provider"


class Attempt:
    """The values of one sign-in, derived from a secret in the browser's cookie, so that the service stores none."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.state = self._derived("state")
        self.nonce = self._derived("nonce")
        self.verifier = self._derived("PKCE verifier")
        self.challenge = _base64url(sha256(self.verifier.encode()).digest())

    def _derived(self, use: str) -> str:
        return _base64url(hmac.digest(self.secret.encode(), use.encode(), "sha256"))


@dataclass(eq=False)
class ProviderSignIn:
    """The service that signs users in through the provider, and creates their accounts at the first sign-in."""

    provider: Provider
    admin: Requirement | None  # accounts that meet it are admins, all others users; None means that admins assign roles
    factor: Requirement | None  # the proof of a second factor, which every token must have; None means no proof
    users: UserStore
    sessions: Sessions
    token_cache: TokenCache
    ids: IdSource

    async def begin(self) -> tuple[str, str]:
        """Return the provider's URL for a new sign-in, and the secret for the browser's cookie; raises Unavailable."""
        attempt = Attempt(secrets.token_urlsafe(32))
        parameters = {
            "scope": "openid profile email",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        if self.factor is not None and self.factor.claim == "acr":
            parameters["acr_values"] = self.factor.value
        return await self.provider.authorization_url(parameters), attempt.secret

    @staticmethod
    def resume(secret: str | None, state: str) -> Attempt:
        """Return the sign-in with this state; raises Unauthorized if this browser has not begun it.

        ``secret`` is the value of the browser's cookie, or None without one.
        """
        attempt = Attempt(secret or "")
        if not secret or not hmac.compare_digest(attempt.state.encode(), state.encode()):
            raise Unauthorized("This browser has begun no such sign-in, or too long ago: begin with GET /oidc/login.")
        return attempt

    async def finish(self, attempt: Attempt, code: str, device: Device | None = None) -> Tokens:
        """Open a session on a device for the user whom the provider has sent back with this code.

        Raises Unauthorized if the sign-in is not valid, lacks a needed second factor, or is for a disabled account.
        Raises Unavailable if the provider does not answer, or no username is free. Raises Conflict if the claims would
        take the admin role from the last admin, and NotFound if the account is deleted meanwhile.
        """
        settings, audit = self.provider.settings, self.sessions.audit
        token = await self.provider.id_token(code, attempt.verifier)
        key = await self.provider.key(key_id_of(token))
        identity = verify(token, key, settings.issuer, settings.client_id, attempt.nonce)
        if self.factor is not None and not self.factor.met_by(identity.claims):
            raise Unauthorized("The identity provider did not ask for a second factor, which is needed here.")
        role = None
        if self.admin is not None:
            role = Role.ADMIN if self.admin.met_by(identity.claims) else Role.USER
        linked = ProviderIdentity(identity.issuer, identity.subject)
        user = await self.users.by_identity(linked)
        if user is None:
            user = await self._create(identity, linked, role or Role.USER)
        elif role not in (None, user.role):
            entry = audit.entry("account changed", subject=user.username, actor=_BY, changed={"role": role})
            changing = self.users.change(user.username, role, None, audit=entry)
            user = await self.token_cache.revoke(changing, is_named(user.username))
            audit.write(entry)
        if user.disabled:
            audit.record("login refused", user.username, None, "refused", by=_BY)
            raise Unauthorized("The account is disabled.")
        tokens = await self.sessions.open(user.id, None, device)
        audit.record_own(user.username, "session opened", by=_BY)
        return tokens

    async def _create(self, identity: Identity, linked: ProviderIdentity, role: Role) -> User:
        """Create an account whose name is the first free one of ``names_of``; raises Unavailable if none is free."""
        for name in names_of(identity):
            user = User(
                id=self.ids.next(),
                username=name,
                email=identity.email,
                password_hash=NO_PASSWORD,
                role=role,
                created_at=datetime.fromtimestamp(now_ms() / 1000, UTC),
            )
            entry = self.sessions.audit.entry("account created", subject=name, actor=_BY, role=role.value)
            try:
                await self.users.add(user, identity=linked, audit=entry)
            except Conflict:
                made = await self.users.by_identity(linked)  # another request may have created the account meanwhile
                if made is not None:
                    return made
            else:
                self.sessions.audit.write(entry)
                return user
        raise Unavailable("No free username was found for the new account; try again.")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def names_of(identity: Identity) -> list[str]:
    """Return usernames to try for a new account.

    The first is the preferred username up to an ``@``, without invalid characters. It is left out if its length is not
    valid. Three more names end in hexadecimal digits.
    """
    wanted = re.sub(r"[^A-Za-z0-9._-]", "", identity.name.partition("@")[0]).lstrip("._-")
    base = wanted if len(wanted) >= 3 else "user"
    digits = sha256(f"{identity.issuer}\n{identity.subject}".encode()).hexdigest()
    several = [f"{base[: LONGEST_USERNAME - 9]}-{digits[start : start + 8]}" for start in (0, 8, 16)]
    return [base, *several] if base == wanted and len(base) <= LONGEST_USERNAME else several
