"""A file of signing keys, which is read each second, so that keys can be changed without a restart (ADR 13)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from structlog import get_logger

from pycalc.models.auth import MIN_KEY_LENGTH
from pycalc.observability.metrics import AccountMetrics

_log = get_logger(__name__)


def read_keys(file: Path) -> tuple[str, ...]:
    """Return the keys in a file, which has one key on each line, newest first.

    Raises ValueError if the file can't be read, has no key or an invalid one. The message contains no key.
    """
    try:
        keys = tuple(filter(None, map(str.strip, file.read_text().splitlines())))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not valid UTF-8"
        advice = f"name a file that this process (user {os.geteuid()}) can read"
        raise ValueError(f"the key file {file} can't be read ({reason}); {advice}") from error
    if not keys or any(len(key) < MIN_KEY_LENGTH or key.startswith("#") or len(key.split()) > 1 for key in keys):
        form = f"of {MIN_KEY_LENGTH} characters or more each, without spaces and comments"
        raise ValueError(f"the key file {file} needs a key a line, {form}")
    return keys


class SigningKeyFile:
    """A task that reads a file of signing keys each second. While it is invalid, the present keys remain in use."""

    def __init__(
        self,
        file: Path,
        keys: Sequence[str],
        replace: Callable[[Sequence[str]], None],
        metrics: AccountMetrics,
        poll_seconds: float = 1.0,
    ) -> None:
        """Start the task. Whenever ``file`` has other keys than the present ``keys``, call ``replace`` with them."""
        self._file = file
        self._keys = tuple(keys)
        self._replace = replace
        self._poll_seconds = poll_seconds
        self._unreadable = metrics.keys_unreadable
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="key file")

    async def aclose(self) -> None:
        """Stop the task."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _watch(self) -> None:
        logged = ""
        while True:
            await asyncio.sleep(self._poll_seconds)
            problem = ""
            try:
                keys = await asyncio.to_thread(read_keys, self._file)
                if keys != self._keys:
                    self._keys = keys
                    self._replace(keys)
            except ValueError as error:
                problem = str(error)
                if problem != logged:  # log each problem once, not every second
                    _log.error("the signing keys were not replaced", problem=problem)
            logged = problem
            self._unreadable.set(bool(problem))
