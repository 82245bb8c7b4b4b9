"""The last use of each API key, noted in memory and stored once a minute (ADR 29)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.db.base import KeyStore, KeyUse
from pycalc.errors import PycalcError
from pycalc.models.auth import StoredKey
from pycalc.models.ids import now_ms
from pycalc.observability.metrics import AccountMetrics

_MAX_NOTED = 10_000  # keys noted between two rounds; if more keys are used, the others show an older use
_BATCH = 200  # uses in one transaction

_log = get_logger(__name__)


class KeyUses:
    """The time and address of API keys' uses, kept in memory until ``store`` writes them to the database."""

    def __init__(self, store: KeyStore, metrics: AccountMetrics) -> None:
        self._store = store
        self._noted: dict[bytes, KeyUse] = {}
        metrics.key_uses_noted.set_function(lambda: len(self._noted))

    def is_due(self, key_id: bytes) -> bool:
        """Return whether a use of this key must be noted: no use of it is noted yet, and there is room for one."""
        return key_id not in self._noted and len(self._noted) < _MAX_NOTED

    def note(self, key_id: bytes, address: str) -> None:
        """Note that a client with this address uses the key now."""
        self._noted[key_id] = KeyUse(key_id, now_ms(), address)

    def latest(self, key: StoredKey) -> StoredKey:
        """Return ``key`` with its last use: the one noted in memory or, if that is later, the stored one."""
        use = self._noted.get(key.id)
        if use is None or (key.used_ms or 0) > use.used_ms:
            return key
        return replace(key, used_ms=use.used_ms, used_from=use.used_from)

    async def store(self) -> None:
        """Store the noted uses and forget them. Raises StoreUnavailable and keeps the uses that can't be stored."""
        uses = list(self._noted.values())
        for start in range(0, len(uses), _BATCH):
            part = uses[start : start + _BATCH]
            await self._store.note(part)
            for use in part:
                del self._noted[use.key_id]


class KeyUseWriter:
    """A task that stores the noted uses of API keys at intervals, and once more when it ends."""

    def __init__(self, uses: KeyUses, *, seconds: float = 60.0) -> None:
        self._uses = uses
        self._seconds = seconds
        self._closing = asyncio.Event()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="key uses")

    async def aclose(self) -> None:
        """Store the remaining uses and stop. If storing fails, log the failure."""
        self._closing.set()
        await self._runner

    async def _run(self) -> None:
        while True:
            last = self._closing.is_set()
            try:
                await self._uses.store()
            except Exception as error:  # the next round stores them
                trace = None if isinstance(error, PycalcError) else error
                _log.warning("the last uses of API keys were not stored", error=str(error), exc_info=trace)
            if last:
                return
            await wait_until_set(self._closing, self._seconds)
