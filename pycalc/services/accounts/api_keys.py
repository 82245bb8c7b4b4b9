"""API keys for programs: long-lived bearer tokens, stored as hashes, and their last uses (ADR 29)."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from time import monotonic

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.db.base import KeyBearer, KeyStore, KeyUse
from pycalc.errors import Forbidden, NotFound, PycalcError
from pycalc.models.auth import DEFAULT_SCOPES, KeyRequest, KeyScope, Principal, StoredKey, scopes_text
from pycalc.models.ids import IdSource, now_ms
from pycalc.observability.metrics import AccountMetrics
from pycalc.services.accounts.audit_log import AuditLog
from pycalc.services.accounts.token_cache import TokenCache
from pycalc.services.limits.concurrency import lookup_limit

PREFIX = "pck_"
_VISIBLE_CHARACTERS = 12  # enough to recognise one's own key, far too few to guess one
_MAX_PER_USER = 50
# An unknown key is refused for this long without a look-up. Nobody can send a key before it exists, so a new key works
# at once in every process. If another process enables an account, its keys work here after at most this time.
_UNKNOWN_SECONDS = 1.0
_MAX_UNKNOWN = 10_000
_FORM = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")

_MAX_NOTED = 10_000  # keys noted between two rounds; if more keys are used, the others show an older use
_BATCH = 200  # uses in one transaction
_log = get_logger(__name__)


class ApiKeys:
    """The service that creates, lists, verifies and removes API keys."""

    def __init__(
        self,
        store: KeyStore,
        token_cache: TokenCache,
        ids: IdSource,
        metrics: AccountMetrics,
        audit: AuditLog,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self.uses = KeyUses(store, metrics)
        self._token_cache = token_cache
        self._ids = ids
        self._audit = audit
        self._clock = clock
        self._unknown: OrderedDict[bytes, float] = OrderedDict()  # digest -> when to look the key up again
        self._lookups = lookup_limit(2, metrics.lookups_refused.labels("key"))
        metrics.keys_unknown.set_function(lambda: len(self._unknown))

    async def create(self, caller: Principal, wanted: KeyRequest) -> tuple[StoredKey, str]:
        """Create a key for the caller. Return its record and its secret text, which is only stored as a hash.

        Raises Forbidden if a caller who is not an admin wants the scope ADMIN_READ, Conflict if the caller has 50 keys
        already, and Unauthorized if the session has ended, or the account is deleted or disabled.
        """
        scopes = DEFAULT_SCOPES if wanted.scopes is None else scopes_text(wanted.scopes)
        if KeyScope.ADMIN_READ in scopes.split() and not caller.is_admin:
            raise Forbidden(f"Only an admin's key may have the scope {KeyScope.ADMIN_READ}: leave it out.")
        text = PREFIX + secrets.token_urlsafe(32)
        now = now_ms()
        key = StoredKey(
            id=self._ids.next(),
            user_id=caller.user_id,
            name=wanted.name,
            prefix=text[:_VISIBLE_CHARACTERS],
            created_ms=now,
            expires_ms=None if wanted.expires_in is None else now + wanted.expires_in * 1000,
            scopes=scopes,
            allow_query=wanted.allow_query,
            limits=wanted.limits,
        )
        await self._store.add(key, sha256(text.encode()).digest(), _MAX_PER_USER, caller.credential_id)
        user, query = caller.username, key.allow_query
        self._audit.record_own(user, "key created", key=key.prefix, scopes=scopes, allow_query=query)
        return key, text

    async def all_of(self, caller: Principal) -> list[StoredKey]:
        """Return the caller's keys with their last uses, oldest first."""
        return [self.uses.latest(key) for key in await self._store.of_user(caller.user_id)]

    async def get(self, caller: Principal, key_id: bytes) -> StoredKey:
        """Return the caller's key with this id; raises NotFound if the caller has no such key."""
        for key in await self.all_of(caller):
            if key.id == key_id:
                return key
        raise NotFound("There is no such key.")

    async def remove(self, caller: Principal, key_id: bytes) -> None:
        """Remove the caller's key, and raise NotFound if the caller has no key with this id.

        This process refuses the key at once, the others within seconds.
        """
        prefix = (await self.get(caller, key_id)).prefix
        removing = self._store.remove(caller.user_id, key_id)
        await self._token_cache.revoke(removing, lambda principal: principal.credential_id == key_id)
        self._audit.record_own(caller.username, "key removed", key=prefix)

    async def bearer(self, text: str) -> KeyBearer | None:
        """Return a valid key and its owner, or None for a key that is unknown or expired or whose owner is disabled.

        Raises Overloaded if too many keys wait for their look-up, or if this key has waited for a second.
        """
        if _FORM.fullmatch(text) is None:
            return None
        digest = sha256(text.encode()).digest()
        if self._unknown.get(digest, 0.0) > self._clock():
            return None
        async with self._lookups.slot():
            bearer = await self._store.bearer(digest, now_ms())
        if bearer is None:
            self._unknown[digest] = self._clock() + _UNKNOWN_SECONDS
            self._unknown.move_to_end(digest)
            if len(self._unknown) > _MAX_UNKNOWN:
                self._unknown.popitem(last=False)
        return bearer

    def forget_unknown(self) -> None:
        """Clear the cache of unknown keys, so that the keys of an account that was enabled work at once."""
        self._unknown.clear()


class KeyUses:
    """The time and address of API keys' last uses, kept in memory until they are written to the database."""

    def __init__(self, store: KeyStore, metrics: AccountMetrics, seconds: float = 60.0) -> None:
        self._store = store
        self._seconds = seconds
        self._noted: dict[bytes, KeyUse] = {}
        self._closing = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
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

    def start(self) -> None:
        """Start a task that stores the noted uses every ``seconds``, and once more when it ends."""
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="key uses")

    async def aclose(self) -> None:
        """Store the remaining uses and stop. If storing fails, log the failure."""
        self._closing.set()
        if self._runner is not None:
            await self._runner

    async def store(self) -> None:
        """Store the noted uses and forget them. Raises StoreUnavailable and keeps the uses that can't be stored."""
        uses = list(self._noted.values())
        for start in range(0, len(uses), _BATCH):
            part = uses[start : start + _BATCH]
            await self._store.note(part)
            for use in part:
                del self._noted[use.key_id]

    async def _run(self) -> None:
        while True:
            last = await wait_until_set(self._closing, self._seconds)
            try:
                await self.store()
            except Exception as error:  # the next round stores them
                trace = None if isinstance(error, PycalcError) else error
                _log.warning("the last uses of API keys were not stored", error=str(error), exc_info=trace)
            if last:
                return
