"""The audit log: who did what to which account. Entries go to the service's log and to the database (ADR 32)."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import islice
from time import monotonic

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.db.base import AuditStore
from pycalc.errors import StoreUnavailable
from pycalc.models.audit import AuditEntry, AuditFilter, AuditOutcome, encode_entry
from pycalc.models.ids import IdSource, cursor_id, cursor_of, now_ms
from pycalc.observability.metrics import AccountMetrics

COMMAND_LINE = "the command line"  # the actor of the operator's commands
SERVICE = "the service"  # the actor of the service's own actions
# Entries that users and strangers cause are limited, because the database keeps them for months. A user's acts and
# refused requests have separate limits, so that refusals do not crowd out acts.
USER_BURST, USER_ENTRIES_PER_DAY = 50, 24
STRANGERS_BURST, STRANGERS_ENTRIES_PER_DAY = 1_000, 8_640
_MAX_BUCKETS = 20_000
_DAY_SECONDS = 86_400
_QUEUE_ENTRIES = 10_000
_BATCH = 128
_NAME_CHARACTERS = 254
_DETAILS_CHARACTERS = 1_000

_audit = get_logger("pycalc.audit")
_log = get_logger(__name__)


class _TokenBuckets:
    """A token bucket for each key, such as a user. It allows ``burst`` events at once, ``per_second`` on average."""

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def take(self, key: Hashable, now: float) -> bool:
        """Count an event of the key at the time ``now`` and return True. If the key's bucket is empty, return False."""
        tokens, counted_at = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted_at) * self._per_second)
        self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens), now
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)  # the bucket that was unused for the longest time
        return tokens >= 1


class AuditLog:
    """The writer of the audit log. A task stores entries from a bounded queue, and runs only while entries wait."""

    def __init__(
        self,
        store: AuditStore,
        ids: IdSource,
        metrics: AccountMetrics,
        address: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = monotonic,
        *,
        retry_seconds: float = 1.0,
    ) -> None:
        """Create a writer. While the database is unavailable, it retries every ``retry_seconds``.

        ``address`` must return the address of the present request's client, or None outside of requests.
        """
        self._store = store
        self._ids = ids
        self._address = address
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._unstored = metrics.audit_unstored
        self._own = _TokenBuckets(USER_BURST, USER_ENTRIES_PER_DAY / _DAY_SECONDS)
        self._strangers = _TokenBuckets(STRANGERS_BURST, STRANGERS_ENTRIES_PER_DAY / _DAY_SECONDS)
        self._queue: deque[AuditEntry] = deque()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        metrics.audit_waiting.set_function(lambda: len(self._queue))

    def entry(
        self, action: str, subject: str | None, actor: str | None, outcome: AuditOutcome = "done", **details: object
    ) -> AuditEntry:
        """Return an entry with the present time and client address.

        ``subject`` is the account that was acted upon, or None if there is none. ``actor`` is the user, program or
        provider that acted, or None if unknown. ``details`` must be JSON values, and must not contain a secret.
        """
        text = json.dumps(details)
        if len(text) > _DETAILS_CHARACTERS:
            text = json.dumps({"cut": text[: _DETAILS_CHARACTERS // 2]})
        created_ms = now_ms()  # read before the id is made, so that the id's time is not earlier
        # Every database accepts these names: short, without NUL and lone surrogates.
        actor, subject = (
            name and name[:_NAME_CHARACTERS].encode(errors="replace").decode().replace("\x00", "?")
            for name in (actor, subject)
        )
        return AuditEntry(self._ids.next(), created_ms, action, actor, subject, self._address(), outcome, text)

    def write(self, entry: AuditEntry) -> None:
        """Write an entry to the service's log, but not to the database."""
        others = {} if entry.actor in (None, entry.subject) else {"by": entry.actor}
        write = _audit.info if entry.outcome == "done" else _audit.warning
        write(entry.action, user=entry.subject, **json.loads(entry.details), **others)

    def record(
        self, action: str, subject: str | None, actor: str | None, outcome: AuditOutcome = "done", **details: object
    ) -> None:
        """Write an entry to the service's log, and store it soon. The parameters are the same as for ``entry``."""
        entry = self.entry(action, subject, actor, outcome, **details)
        self.write(entry)
        self.store_soon(entry)

    def record_own(self, username: str, action: str, outcome: AuditOutcome = "done", **details: object) -> None:
        """Record, as ``record`` does, what a user did to the user's own account."""
        self.record(action, username, username, outcome, **details)

    def store_soon(self, entry: AuditEntry) -> None:
        """Queue an entry for the database. If its actor causes too many, or the queue is full, only count it."""
        if entry.actor is None:
            admitted = self._strangers.take(None, self._clock())
        else:  # an act of an admin, an operator's command or the service itself is not limited
            by_another = entry.outcome == "done" and entry.actor != entry.subject
            admitted = by_another or self._own.take((entry.actor, entry.outcome), self._clock())
        if not admitted:
            self._unstored.labels("limit").inc()
        elif len(self._queue) >= _QUEUE_ENTRIES:
            self._unstored.labels("queue").inc()
        else:
            self._queue.append(entry)
            if self._writer is None or self._writer.done():
                self._writer = asyncio.get_running_loop().create_task(self._write(), name="audit log")

    async def aclose(self) -> None:
        """Store the waiting entries and stop. Entries that can't be stored are only in the service's log."""
        self._closing.set()
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        size = _BATCH
        while self._queue:
            batch = list(islice(self._queue, size))
            try:
                await self._store.append(batch)
            except StoreUnavailable as error:  # repeating is safe: an entry that is stored already stays as it is
                if self._closing.is_set():
                    self._unstored.labels("unavailable").inc(len(self._queue))
                    _log.error("audit entries were not stored", entries=len(self._queue), error=str(error))
                    return
                await wait_until_set(self._closing, self._retry_seconds)
                continue
            except Exception:  # one bad entry must not keep others out
                if len(batch) > 1:
                    size = 1
                    continue
                self._unstored.labels("rejected").inc()
                _log.exception("an audit entry was rejected", action=batch[0].action)
            for _ in batch:
                self._queue.popleft()
            size = min(_BATCH, 2 * size)  # after a rejection, one entry at a time would take too long


class RefusalLog:
    """The writer of refused requests to the audit log, at limited rates.

    Known and unknown callers have separate limits, so that unknown callers can't crowd out the entries of users. Each
    user and each unknown caller's address has a lower limit, so that none of them can crowd out the others.
    """

    def __init__(self, metrics: AccountMetrics, audit: AuditLog, clock: Callable[[], float] = monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._own = _TokenBuckets(burst=20.0, per_second=1.0)  # of one user or one address
        self._all = _TokenBuckets(burst=100.0, per_second=10.0)  # of all known or all unknown callers
        self._suppressed = {caller: metrics.audit_suppressed.labels(caller) for caller in ("known", "unknown")}

    def refused(self, user: str | None, address: str, **facts: str | int) -> None:
        """Record a refused request of a user, or of an unknown caller at ``address`` if ``user`` is None.

        Above a limit, the request is only counted. ``facts`` must not contain a secret. The fact ``tried``, the
        username of a refused login, becomes the entry's subject, the others its details.
        """
        caller, own = ("unknown", address) if user is None else ("known", user)
        now = self._clock()
        if not self._own.take((caller, own), now) or not self._all.take(caller, now):
            self._suppressed[caller].inc()
            return
        _audit.warning("request refused", user=user, address=address, **facts)
        tried = facts.pop("tried", None)
        subject = None if tried is None else str(tried)
        entry = self._audit.entry("request refused", subject=subject, actor=user, outcome="refused", **facts)
        self._audit.store_soon(entry)


@dataclass(eq=False)
class AuditReader:
    """A reader of the audit log. Its callers must ensure that the user is an admin."""

    store: AuditStore

    async def entries(self, selection: AuditFilter, before: bytes | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` of the selected entries, newest first, with ids below ``before`` unless it is None."""
        return await self.store.page(selection, before, limit)

    async def page(self, selection: AuditFilter, cursor: str | None, limit: int) -> tuple[str, str | None]:
        """Return an AuditPage as JSON text, and the next page's cursor, or None on the last page.

        Raises InvalidInput for a malformed cursor.
        """
        entries = await self.entries(selection, cursor_id(cursor), limit + 1)
        following = cursor_of(entries[limit - 1].id) if len(entries) > limit else None
        items = ",".join(map(encode_entry, entries[:limit]))
        member = "null" if following is None else f'"{following}"'
        return f'{{"items":[{items}],"next_cursor":{member}}}', following
