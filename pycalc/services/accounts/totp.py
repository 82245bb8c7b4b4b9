"""The second factor of a login: time-based one-time passwords (RFC 6238) and recovery codes (ADR 31)."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import time

from structlog import get_logger

from pycalc.db.base import StoredTotp, TotpStore
from pycalc.errors import Conflict, TotpRequired, Unauthorized, WrongPassword
from pycalc.models.auth import Principal, User
from pycalc.services.accounts.accounts import Accounts

_SECRET_BYTES = 20  # the length of the hash, SHA-1 (RFC 4226 §4)
_CODE = re.compile(r"\d{6}", re.ASCII)
_WRONG = "The code is wrong, too old or used already: send the next one."

_log = get_logger(__name__)

_CONTEXT = b"pycalc secret v1"
_KEY_ID_BYTES = 4  # enough to identify a key, too few to confirm a guess of the key
_NONCE_BYTES = 12


def _plain(code: str) -> str:
    """Return a code in lower case, without the spaces and hyphens that people type."""
    return re.sub(r"[\s-]", "", code).lower()


@dataclass(eq=False)
class Totp:
    """The service that enrols, checks and removes second factors."""

    store: TotpStore
    accounts: Accounts
    cipher: SecretCipher
    clock: Callable[[], float] = time

    async def enrol(self, caller: Principal, password: str) -> tuple[str, str]:
        """Begin an enrolment, which ``confirm`` completes, and return the new secret and its otpauth URI.

        Raises Conflict if the account already has a second factor, and the errors of ``Accounts.with_password``.
        """
        user = await self._with_password(caller, password)
        raw = secrets.token_bytes(_SECRET_BYTES)
        await self.store.offer(user.id, self.cipher.encrypt(raw, user.id))
        import pyotp  # not at the top of the module, because most processes never need it

        secret = base64.b32encode(raw).decode()
        return secret, pyotp.TOTP(secret).provisioning_uri(name=user.username, issuer_name="pycalc")

    async def confirm(self, caller: Principal, code: str) -> list[str]:
        """Turn the second factor on, end the caller's other sessions, and return the recovery codes.

        Raises WrongPassword for a wrong code, Conflict if no enrolment waits for its confirmation, and Unauthorized if
        the session has ended.
        """
        stored = await self.store.of_user(caller.user_id)
        if stored is None or stored.last_step is not None:
            raise Conflict("There is no enrolment to confirm: begin one with POST /me/totp.")
        step = self._step_of(caller.user_id, stored, _plain(code))
        if step is None:
            self.accounts.audit.record_own(caller.username, "second factor refused", "refused")
            raise WrongPassword(_WRONG)
        random = [secrets.token_bytes(15) for _ in range(10)]  # 120 bits can't be guessed: a plain hash is enough
        codes = [base64.b32encode(each).decode().lower() for each in random]
        hashes = [sha256(each.encode()).digest() for each in codes]
        confirming = self.store.confirm(caller.user_id, stored.secret, step, hashes, caller.credential_id)
        await self.accounts.token_cache.revoke(confirming, lambda other: other.user_id == caller.user_id)
        self.accounts.audit.record_own(caller.username, "second factor enabled")
        return ["-".join(re.findall("....", each)) for each in codes]

    async def disable(self, caller: Principal, password: str, code: str) -> None:
        """Turn the second factor off, and end the caller's other sessions.

        Raises WrongPassword for a wrong code, NotFound if there is no second factor, and the errors of
        ``Accounts.with_password``.
        """
        user = await self._with_password(caller, password)
        if user.totp and not await self._accepts(user, code):
            self.accounts.audit.record_own(user.username, "second factor refused", "refused")
            raise WrongPassword(_WRONG)
        removing = self.store.remove(user.id, caller.credential_id)
        await self.accounts.token_cache.revoke(removing, lambda other: other.user_id == user.id)
        self.accounts.audit.record_own(user.username, "second factor disabled")

    async def reset(self, admin: Principal, user: User) -> None:
        """Turn off a user's second factor on behalf of an admin, and end all of the user's sessions.

        Raises Conflict for the admin's own account, NotFound if there is no second factor, and Forbidden if the admin
        has lost the role.
        """
        if user.id == admin.user_id:
            raise Conflict("This is your own account: disable its second factor with POST /me/totp/disable.")
        removing = self.store.remove(user.id, None, admin.user_id)
        await self.accounts.token_cache.revoke(removing, lambda other: other.user_id == user.id)
        self.accounts.audit.record("second factor reset", subject=user.username, actor=admin.username)

    async def check_login(self, user: User, code: str | None) -> None:
        """If the account needs a code, raise TotpRequired for a missing code, and Unauthorized for a wrong one.

        Call this only for a right password, because the errors tell the client that the password is right.
        """
        if not user.totp:
            return
        if code is None:
            raise TotpRequired("The password is right; this account needs a code too: send it as `totp`.")
        if not await self._accepts(user, code):
            # Other refused logins have no actor, because nobody has proved to be the user.
            self.accounts.audit.record_own(user.username, "login refused", "refused", factor="totp")
            raise Unauthorized(_WRONG)

    async def _with_password(self, caller: Principal, password: str) -> User:
        advice = "the identity provider takes care of a second factor"
        return await self.accounts.with_password(caller, password, "second factor refused", advice)

    async def _accepts(self, user: User, code: str) -> bool:
        """Return whether a TOTP code or recovery code is valid and unused, and mark it as used."""
        text = _plain(code)
        if _CODE.fullmatch(text) is None:
            used = await self.store.use_recovery(user.id, sha256(text.encode()).digest())
            if used:
                self.accounts.audit.record_own(user.username, "recovery code used")
            return used
        stored = await self.store.of_user(user.id)
        step = None if stored is None else self._step_of(user.id, stored, text)
        if stored is None or step is None:
            return False
        renewed = self.cipher.renewed(stored.secret, user.id)
        return await self.store.use_step(user.id, step, stored.secret, renewed)

    def _step_of(self, user_id: bytes, stored: StoredTotp, code: str) -> int | None:
        """Return the time step (RFC 6238) of a six-digit code, or None if the code is wrong or can't be checked."""
        import pyotp

        if _CODE.fullmatch(code) is None:
            return None
        try:
            secret = self.cipher.decrypt(stored.secret, user_id)
        except ValueError as error:
            _log.error("a second factor can't be checked", reason=str(error))
            return None
        totp = pyotp.TOTP(base64.b32encode(secret).decode())
        try:
            # The clock of the authenticator app may be one step behind or ahead.
            return totp.verify_and_get_timecode(code, for_time=self.clock(), valid_window=1)
        except pyotp.exceptions.OTPVerificationError:
            return None


class SecretCipher:
    """A cipher (AES-256-GCM) with keys derived from the password keys.

    An encrypted secret is the id of its key, a random nonce, and the ciphertext. It can only be decrypted for the
    account for which it was encrypted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """Encrypt with the first of ``keys`` and decrypt with all of them; raises ValueError if there is none."""
        if not keys:
            raise ValueError("at least one password key is needed")
        self._keys = {
            sha256(b"secret key" + key.encode()).digest()[:_KEY_ID_BYTES]: hmac.digest(key.encode(), _CONTEXT, "sha256")
            for key in keys
        }
        self._newest = next(iter(self._keys))

    def encrypt(self, secret: bytes, user_id: bytes) -> bytes:
        """Return an account's secret, encrypted with the newest key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # the first response need not wait for it

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._newest + nonce + AESGCM(self._keys[self._newest]).encrypt(nonce, secret, user_id)

    def decrypt(self, encrypted: bytes, user_id: bytes) -> bytes:
        """Return an account's secret.

        Raises ValueError if its key is missing, or if the secret was changed or is of another account.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, rest = encrypted[:_KEY_ID_BYTES], encrypted[_KEY_ID_BYTES:]
        if key_id not in self._keys:
            raise ValueError(f"a secret's key {key_id.hex()} is not listed in PYCALC_PASSWORD_KEYS")
        try:
            return AESGCM(self._keys[key_id]).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], user_id)
        except InvalidTag:
            raise ValueError("a secret was changed, or belongs to another account") from None

    def renewed(self, encrypted: bytes, user_id: bytes) -> bytes:
        """Return the secret encrypted with the newest key; raises ValueError as ``decrypt`` does."""
        if encrypted.startswith(self._newest):
            return encrypted
        return self.encrypt(self.decrypt(encrypted, user_id), user_id)
