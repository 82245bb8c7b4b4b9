"""Encryption of secrets that the service must read again, with keys that are not in the database (ADR 31)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256

_CONTEXT = b"pycalc secret v1"
_KEY_ID_BYTES = 4  # enough to identify a key, too few to confirm a guess of the key
_NONCE_BYTES = 12


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
