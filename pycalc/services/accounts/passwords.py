"""Password hashes: bcrypt over a keyed pre-hash, in a small bounded pool of threads (ADR 13)."""

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
from pycalc.observability.metrics import Metrics

T = TypeVar("T")

_THREADS = max(1, cores() // 2)
"""One core in two at most: what a flood of logins must not slow down needs the others."""
MAX_HASHES = 32
"""Passwords that are hashed or wait for it."""
_NICENESS = 10
_SERVICE_WORDS = ("pycalc", "calculator", "fibonacci", "factorial")
_SHORTEST_WORD = 3
_OWN_CHARACTERS = 4
"""What must be left of a password without such words."""
_CONTEXT = b"pycalc password v1"
_UNKEYED = ""
"""The key id of hashes made before there were keys: they begin with bcrypt's own ``$``."""
_NOBODY = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
"""Salt and digest of nobody's password: checking against it takes as long as against anybody's."""

_log = get_logger(__name__)


def _prehash(key: bytes, password: str) -> bytes:
    """Return 44 bytes that stand for the whole password: bcrypt itself reads 72 bytes, and stops at a NUL."""
    return base64.b64encode(hmac.digest(key, password.encode(), "sha256"))


def _key_id(key: str) -> str:
    """Return what a stored hash calls its key: too short to tell a guess of the key from a chance hit."""
    return sha256(b"password key" + key.encode()).hexdigest()[:8]


@cache
def _common() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("common-passwords.txt").read_text().split())


def require_uncommon(password: str, pointer: str, username: str, email: str) -> None:
    """Raise InvalidInput, pointing there, for a password that others would guess.

    That is one of the 3,000 most common of 8 characters or more, or one that holds next to nothing beside the
    username, the address or the words of this service.
    """
    lowered = rest = password.lower()
    words = (*_SERVICE_WORDS, username.lower(), email.partition("@")[0].lower())
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "") if len(word) >= _SHORTEST_WORD else rest
    if lowered in _common() or len(rest) < _OWN_CHARACTERS:
        raise InvalidInput.of(
            FieldProblem(pointer, f"{pointer.removeprefix('/')} is too easy to guess: choose another.")
        )


def _yield_to_requests() -> None:
    """Leave the processors to the event loop first: a flood of logins must not slow calculations down."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


class PasswordHasher:
    """Hashes and checks passwords off the event loop; refuses what would queue for too long.

    A stored hash is the id of its key and bcrypt's own text: ``1f2e3d4c$2b$12$...``.
    """

    def __init__(self, metrics: Metrics, rounds: int, keys: Sequence[str]) -> None:
        """``keys``: secrets that are not in the database, newest first; what an earlier one made is still good."""
        if not keys:
            raise ValueError("at least one password key is needed")
        derived = {_key_id(key): hmac.digest(key.encode(), _CONTEXT, "sha256") for key in keys}
        self._newest = next(iter(derived))
        self._keys = {**derived, _UNKEYED: _CONTEXT}
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bcrypt", initializer=_yield_to_requests)
        self._entered = 0
        self._refused = metrics.hashes_refused
        self._nobody = f"{self._newest}$2b${rounds:02d}${_NOBODY}"
        metrics.hashes_waiting.set_function(lambda: self._entered)

    async def hash(self, password: str) -> str:
        """Return a password's hash, with the newest key; raises Overloaded when too many are waiting."""
        prehash = _prehash(self._keys[self._newest], password)
        hashed = await self._run(lambda: bcrypt.hashpw(prehash, bcrypt.gensalt(self._rounds)))
        return self._newest + hashed.decode()

    async def check(self, password: str, hashed: str | None) -> bool:
        """Return whether a password has that hash, at the cost of one hash whatever the answer.

        For no hash (no such user), and for one whose key is not listed any more, the answer is False.
        """
        known = hashed if hashed is not None and self._listed(hashed) else None
        key_id, rest = _parts(known or self._nobody)
        prehash = _prehash(self._keys[key_id], password)
        return await self._run(lambda: bcrypt.checkpw(prehash, rest.encode())) and known is not None

    def outdated(self, hashed: str) -> bool:
        """Whether a hash was made with another key than the newest, or another cost factor than the one in force."""
        return _parts(hashed)[0] != self._newest or int(hashed.split("$")[2]) != self._rounds

    def _listed(self, hashed: str) -> bool:
        """Whether the key of a hash is known; an unknown one is told, for its user can't log in."""
        key_id, _ = _parts(hashed)
        if key_id not in self._keys:
            _log.error("a password's key is not listed in PYCALC_PASSWORD_KEYS", key=key_id)
        return key_id in self._keys

    async def aclose(self) -> None:
        """Finish what was begun and end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._entered >= MAX_HASHES:
            self._refused.inc()
            raise Overloaded("Too many logins at once.")
        self._entered += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._entered -= 1


def _parts(hashed: str) -> tuple[str, str]:
    """Return the id of a stored hash's key, and bcrypt's text."""
    key_id = hashed.partition("$")[0]
    return key_id, hashed[len(key_id) :]
