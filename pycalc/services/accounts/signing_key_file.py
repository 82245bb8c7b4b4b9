"""Signing keys in a file that is read again while the service runs: rotation without a restart (ADR 13)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from structlog import get_logger

from pycalc.models.auth import MIN_KEY_LENGTH
from pycalc.observability.metrics import Metrics

_POLL_SECONDS = 1.0

_log = get_logger(__name__)


def read_keys(file: Path) -> tuple[str, ...]:
    """Return a file's keys, one a line, newest first; raises ValueError with a sentence that shows none of them."""
    try:
        keys = tuple(filter(None, map(str.strip, file.read_text().splitlines())))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the key file {file} can't be read: {type(error).__name__}") from error
    if not keys or min(map(len, keys)) < MIN_KEY_LENGTH:
        raise ValueError(f"the key file {file} needs a key a line, of {MIN_KEY_LENGTH} characters or more each")
    if any(key.startswith("#") or len(key.split()) > 1 for key in keys):
        raise ValueError(f"the key file {file} must hold keys alone, a line each, without spaces and comments")
    return keys


class KeyFile:
    """Reads the file again each second and tells of new keys; while it is unreadable the keys in force stay."""

    def __init__(
        self,
        file: Path,
        keys: Sequence[str],
        replace: Callable[[Sequence[str]], None],
        metrics: Metrics,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """``keys`` are those in force; ``replace`` is called with those that the file holds from then on."""
        self._file = file
        self._keys = tuple(keys)
        self._replace = replace
        self._poll_seconds = poll_seconds
        self._unreadable = metrics.keys_unreadable
        self._told = ""
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="key file")

    async def aclose(self) -> None:
        """Stop watching."""
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                keys = await asyncio.to_thread(read_keys, self._file)
            except ValueError as error:
                self._complain(str(error))
                continue
            self._told = ""
            self._unreadable.set(0)
            if keys != self._keys:
                self._keys = keys
                self._replace(keys)

    def _complain(self, problem: str) -> None:
        """Log a problem once, for as long as it lasts."""
        self._unreadable.set(1)
        if problem != self._told:
            self._told = problem
            _log.error("the signing keys in force stay", problem=problem)
