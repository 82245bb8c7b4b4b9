"""Password hashes: bcrypt over a pre-hash, in a small bounded pool of threads."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import bcrypt

from pycalc.errors import FieldProblem, InvalidInput, Overloaded
from pycalc.observability.metrics import Metrics

T = TypeVar("T")

_THREADS = 2
_WAITING = 32
_CONTEXT = b"pycalc password v1"
_NOBODY = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
"""Salt and digest of nobody's password: checking against it takes as long as against anybody's."""


def _prehash(password: str) -> bytes:
    """Return 44 bytes that stand for the whole password: bcrypt itself reads 72 bytes, and stops at a NUL.

    The key separates these digests from plain ones leaked elsewhere (password shucking).
    """
    return base64.b64encode(hmac.digest(_CONTEXT, password.encode(), "sha256"))


@cache
def _common() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("common-passwords.txt").read_text().split())


def require_uncommon(password: str, pointer: str) -> None:
    """Raise InvalidInput, pointing there, for one of the 3,000 most common passwords of 8 characters or more."""
    if password.lower() in _common():
        raise InvalidInput(
            "The password is one of the most common ones.", (FieldProblem(pointer, "is too common: choose another"),)
        )


class PasswordHasher:
    """Hashes and checks passwords off the event loop; refuses what would queue for too long."""

    def __init__(self, metrics: Metrics, rounds: int) -> None:
        self._rounds = rounds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bcrypt")
        self._entered = 0
        self._refused = metrics.hashes_refused
        self._nobody = f"$2b${rounds:02d}${_NOBODY}".encode()
        metrics.hashes_waiting.set_function(lambda: self._entered)

    async def hash(self, password: str) -> str:
        """Return a password's hash; raises Overloaded when too many are waiting."""
        return (await self._run(lambda: bcrypt.hashpw(_prehash(password), bcrypt.gensalt(self._rounds)))).decode()

    async def check(self, password: str, hashed: str | None) -> bool:
        """Return whether a password has that hash; for no hash (no such user) take as long and return False."""
        known = hashed.encode() if hashed is not None else self._nobody
        return await self._run(lambda: bcrypt.checkpw(_prehash(password), known)) and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether a hash was made with another cost factor than the one in force."""
        return int(hashed.split("$")[2]) != self._rounds

    async def aclose(self) -> None:
        """Finish what was begun and end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._entered >= _WAITING:
            self._refused.inc()
            raise Overloaded("Too many logins at once.")
        self._entered += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._entered -= 1
