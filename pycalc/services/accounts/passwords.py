"""Password hashes: bcrypt of a keyed hash (HMAC) of the password, computed in a small thread pool (ADR 13)."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import bcrypt
from structlog import get_logger

from pycalc.errors import FieldProblem, InvalidInput, Overloaded
from pycalc.machine import cores
from pycalc.models.auth import NO_PASSWORD
from pycalc.observability.metrics import AccountMetrics

T = TypeVar("T")

# The most hashes that run or are queued. A running hash whose caller was cancelled is not counted, so that there may be
# up to _THREADS more.
MAX_HASHES = 32
_THREADS = max(1, cores() // 2)  # leaves the other cores to calculations during a flood of logins
_NICENESS = 10
_SERVICE_WORDS = ("pycalc", "calculator", "fibonacci", "factorial")
_CONTEXT = b"pycalc password v1"
# Salt and digest of an unknown password. Checking against them takes as long as checking against a user's hash.
_DUMMY_HASH = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

_log = get_logger(__name__)


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("common-passwords.txt").read_text().split())


def require_uncommon(password: str, pointer: str, username: str, email: str) -> None:
    """Raise InvalidInput at the JSON pointer ``pointer`` if a password is easy to guess.

    The 3,000 most common passwords of 8 characters or more are refused. A password must have at least 4 characters
    besides the username, the local part of the e-mail address and words such as "calculator". For this count, a name or
    word of fewer than 3 characters is ignored.
    """
    lowered = rest = password.lower()
    words = (*_SERVICE_WORDS, username.lower(), email.partition("@")[0].lower())
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "") if len(word) >= 3 else rest
    if lowered in _common_passwords() or len(rest) < 4:
        detail = f"{pointer.removeprefix('/')} is too easy to guess: choose another."
        raise InvalidInput.of(FieldProblem(pointer, detail))


def _lower_thread_priority() -> None:
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def _dummy(rounds: int) -> str:
    return f"$2b${rounds:02d}${_DUMMY_HASH}"


class PasswordHasher:
    """A thread pool that hashes and checks passwords, with a bounded queue.

    A hash is a text: the id of its key, and then bcrypt's own text, as in ``1f2e3d4c$2b$12$...``.
    """

    def __init__(self, metrics: AccountMetrics, rounds: int, keys: Sequence[str]) -> None:
        """Hash with the first of ``keys``, and check with all of them; raises ValueError if there is none.

        ``keys`` are secrets that are not in the database. ``rounds`` is bcrypt's cost factor.
        """
        if not keys:
            raise ValueError("at least one password key is needed")
        # Eight characters of a digest identify a key. They are too few to confirm a guess of the key.
        derived = {
            sha256(b"password key" + key.encode()).hexdigest()[:8]: hmac.digest(key.encode(), _CONTEXT, "sha256")
            for key in keys
        }
        self._newest = next(iter(derived))
        self._keys = {**derived, "": _CONTEXT}  # "": of a hash without a key, which begins with bcrypt's own ``$``
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bcrypt", initializer=_lower_thread_priority)
        self._pending = 0
        self._refused = metrics.hashes_refused
        self._dummy = self._newest + _dummy(rounds)
        metrics.hashes_waiting.set_function(lambda: self._pending)

    async def hash(self, password: str) -> str:
        """Return the password's hash, made with the newest key; raises Overloaded if the queue is full."""
        prehash = self._prehash(self._newest, password)
        hashed = await self._run(lambda: bcrypt.hashpw(prehash, bcrypt.gensalt(self._rounds)))
        return self._newest + hashed.decode()

    async def check(self, password: str, hashed: str | None) -> bool:
        """Return whether the password has this hash. Raises Overloaded if the queue is full.

        Return False if ``hashed`` is None (an unknown user) or NO_PASSWORD, or was made with a key that is gone.

        A call takes at least the time of one hash at the present cost, even for an unknown user, so that its time does
        not reveal whether a user exists. It only takes longer if the hash has a higher cost.
        """
        hashed = None if hashed == NO_PASSWORD else hashed
        key_id, _, bcrypt_hash = (self._dummy if hashed is None else hashed).partition("$")
        known = hashed is not None and key_id in self._keys
        if key_id not in self._keys:
            _log.error("a password's key is not listed in PYCALC_PASSWORD_KEYS", key=key_id)
            key_id, _, bcrypt_hash = self._dummy.partition("$")
        prehash, rounds = self._prehash(key_id, password), int(bcrypt_hash.split("$")[1])

        def compare() -> bool:
            right = bcrypt.checkpw(prehash, b"$" + bcrypt_hash.encode())
            for lower in range(rounds, self._rounds):  # a hash of a lower cost would tell that the user exists
                bcrypt.checkpw(prehash, _dummy(lower).encode())
            return right

        return await self._run(compare) and known

    def outdated(self, hashed: str) -> bool:
        """Return whether a hash was made with another key than the newest, or with another cost factor."""
        key_id, _, rounds, _ = hashed.split("$")
        return key_id != self._newest or int(rounds) != self._rounds

    async def aclose(self) -> None:
        """Finish the running and queued hashes, then end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    def _prehash(self, key_id: str, password: str) -> bytes:
        """Return a keyed hash of the password, 44 bytes long. bcrypt itself reads only 72 bytes and stops at a NUL."""
        return base64.b64encode(hmac.digest(self._keys[key_id], password.encode(), "sha256"))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= MAX_HASHES:
            self._refused.inc()
            raise Overloaded("Too many passwords are being hashed; retry in 1 s.")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1
