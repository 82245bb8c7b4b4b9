"""Deletion of calculations that are too old or exceed their user's quota, oldest first, in small batches (ADR 16)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from functools import partial
from time import time
from typing import Any, TypeVar

from structlog import get_logger

from pycalc.backoff import wait_until_set
from pycalc.db.base import AuditStore, DeletedAccount, DeletedAccountStore, HistoryStore, IdempotencyStore, UsageStore
from pycalc.errors import PycalcError, StoreUnavailable
from pycalc.models.history import HistoryRow
from pycalc.models.ids import first_id_of_ms, now_ms
from pycalc.observability.metrics import HistoryMetrics

# Rows that one transaction deletes. It delays the recorder about as long as one of the recorder's own commits. With
# SQLite, each million waiting events add 35 ms.
BATCH = 200
# A row with more characters than this needs an overflow page in SQLite, and so as much disk as about four short rows.
LONG_CHARACTERS = 700
LONG_WEIGHT = 4
SLACK = 10  # a user's history is measured again after the user has recorded 1/SLACK of the quota
REDELIVERY = timedelta(days=14)  # no older event is delivered again, because topics keep events for a week
KEPT_KEYS = timedelta(hours=24)  # a retry with the same idempotency key within this time gets the recorded answer
# Requests that began before their account was deleted record their calculations within this time.
LAST_ROWS = timedelta(hours=2)
_MOST_SECONDS_APART = 60  # the difference of two clocks from which nothing is deleted by age
_PAGE = 1_000  # rows whose sizes one read returns
_PERIOD_SECONDS = 3_600.0
# Another process may commit a row up to this long after the time in its id. This covers the recorder's longest wait and
# a difference of the clocks.
_SETTLING_SECONDS = 10.0
_MOST_OWN_QUOTAS = 50_000  # a further one evicts the oldest; the default then counts for that user's new rows
_PAUSE_SECONDS = 0.05  # between two batches, so that the recorder and others can use the database
_READ_PAUSE_SECONDS = 0.01  # between two reads

_T = TypeVar("_T")
_log = get_logger(__name__)


async def _ms_before(history: HistoryStore, age: timedelta) -> int:
    """Return the time ``age`` ago in milliseconds. Raises StoreUnavailable if the clock of the database differs."""
    now = now_ms()
    # Without this check, a process whose clock is a year ahead would delete the history of all users.
    difference = abs(now - await history.clock_ms()) // 1000
    if difference > _MOST_SECONDS_APART:
        raise StoreUnavailable(
            f"The clocks of this host and of the database differ by {difference} s, so nothing is deleted by age."
        )
    return now - age // timedelta(milliseconds=1)


def _weight(characters: int) -> int:
    return LONG_WEIGHT if characters > LONG_CHARACTERS else 1


async def prune(history: HistoryStore, age: timedelta) -> AsyncIterator[int]:
    """Delete calculations older than ``age``. Yield the number of deleted rows after each transaction.

    The first calculation with an unpublished event is kept, and all later ones, and those whose event is a dead letter.
    Raises StoreUnavailable, also if the database's clock and this host's differ by more than a minute.
    """
    before = first_id_of_ms(await _ms_before(history, age))
    while gone := await history.prune(before, BATCH):
        yield gone


class _ClosingError(Exception):
    """The service is closing: the task ends, and the next start does the remaining work."""


@dataclass(eq=False)
class Retention:
    """A task that deletes calculations older than a largest age, and the oldest ones beyond each user's quota.

    At the start and once an hour, the task examines the whole history, and one user's history after this process has
    recorded a tenth of the user's quota. So a user may exceed the quota by a tenth for each process. Rows of the last
    ten seconds are not deleted for a quota, because another process may still commit an older row.

    The task also deletes old ids of counted events, idempotency keys and audit entries, and expired reservations of the
    names of deleted accounts. It erases the history and the totals of a deleted account, or makes the history
    anonymous, again each hour while calculations may still be recorded, or events still be counted.
    """

    history: HistoryStore
    usage: UsageStore
    keys: IdempotencyStore
    deleted_accounts: DeletedAccountStore
    metrics: HistoryMetrics
    _: KW_ONLY
    age: timedelta | None = None  # the largest age of a calculation; None is unlimited, as for a quota
    quota: int | None = None  # the default number of rows in a user's history; a long row counts as LONG_WEIGHT rows
    quota_of: Callable[[bytes], Awaitable[int | None]] | None = None  # returns the quota of the user with an id
    audit: AuditStore | None = None
    audit_age: timedelta | None = None
    settling_seconds: float = _SETTLING_SECONDS  # from an id's time to the latest commit of its row by any process
    clock: Callable[[], float] = time  # returns seconds since the epoch

    def __post_init__(self) -> None:
        self._own_quotas: dict[bytes, int | None] = {}  # of the users whose quota is or was not the default one
        self._recorded: Counter[bytes] = Counter()
        self._due: dict[tuple[Callable[[Any], Awaitable[None]], Hashable], None] = {}  # steps and what they apply to
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run(), name="retention")

    def recorded(self, rows: Sequence[HistoryRow]) -> None:
        """Count committed rows by user. After a tenth of a user's quota, let the task examine the user's history."""
        for row in rows:
            quota = self._own_quotas.get(row.user_id, self.quota)
            if quota is None:
                continue
            self._recorded[row.user_id] += _weight(len(row.input) + len(row.result or "") + len(row.digits))
            if self._recorded[row.user_id] * SLACK >= quota:
                del self._recorded[row.user_id]
                self._do_soon(self._trim, row.user_id)

    def learn(self, user_id: bytes, quota: int | None) -> None:
        """Note a user's quota before the user records rows. If it has changed, let the task examine the history."""
        if self._own_quotas.get(user_id, self.quota) == quota:
            return
        if len(self._own_quotas) >= _MOST_OWN_QUOTAS:
            del self._own_quotas[next(iter(self._own_quotas))]
        self._own_quotas[user_id] = quota
        self._do_soon(self._trim, user_id)

    def account_deleted(self, account: DeletedAccount) -> None:
        """Let the task erase the history of a deleted account, or make it anonymous.

        Erasure begins after ``settling_seconds``, when all processes have committed the account's queued rows.
        """
        delay = self.settling_seconds if account.erase else 0.0
        self._loop.call_later(delay, self._do_soon, self._forget_account, account)

    def _do_soon(self, step: Callable[[Any], Awaitable[None]], subject: Hashable) -> None:
        self._due[step, subject] = None
        self._wake.set()

    async def aclose(self) -> None:
        """Finish the current batch, and stop."""
        self._closing.set()
        self._wake.set()
        await self._runner

    async def _run(self) -> None:
        next_pass = self._loop.time()
        steps: list[Callable[[], Awaitable[None]]]
        while not self._closing.is_set():
            self._wake.clear()
            if self._loop.time() >= next_pass:
                next_pass += _PERIOD_SECONDS
                # The steps are independent: one that fails, such as on a huge outbox, does not delay the others.
                steps = [self._prune_old, self._trim_all, self._forget_old_records, self._forget_accounts]
            elif self._due:  # the oldest first, because busy users may be due again at once
                step, subject = next(iter(self._due))
                del self._due[step, subject]
                steps = [partial(step, subject)]
            else:
                await wait_until_set(self._wake, next_pass - self._loop.time())
                continue
            for do in steps:
                try:
                    await do()
                except _ClosingError:
                    return
                except Exception as error:  # the next pass may succeed
                    trace = None if isinstance(error, PycalcError) else error
                    _log.warning("the history was not pruned", error=str(error), exc_info=trace)

    async def _prune_old(self) -> None:
        if self.age is not None:
            await self._prune(first_id_of_ms(await _ms_before(self.history, self.age)))

    async def _trim_all(self) -> None:
        self._recorded.clear()  # this pass measures every user; clearing bounds the counters
        user_id = bytes(16)
        while (following := await self.history.user_after(user_id)) is not None:
            user_id = following
            await self._trim(user_id)
            await self._pause(_READ_PAUSE_SECONDS)

    async def _forget_accounts(self) -> None:
        """Erase or anonymise the history of each deleted account, and release names whose reservation has ended."""
        user_id = bytes(16)
        while (account := await self.deleted_accounts.following(user_id)) is not None:
            user_id = account.user_id
            await self._forget_account(account)
        await self._in_batches(self.deleted_accounts.release_names, now_ms())

    async def _forget_old_records(self) -> None:
        """Delete old ids of counted events, old idempotency keys, and old entries of the audit log."""
        await self._in_batches(self.usage.forget, first_id_of_ms(await _ms_before(self.history, REDELIVERY)))
        await self._in_batches(self.keys.forget, await _ms_before(self.history, KEPT_KEYS))
        if self.audit is not None and self.audit_age is not None:
            await self._in_batches(self.audit.prune, first_id_of_ms(await _ms_before(self.history, self.audit_age)))

    async def _forget_account(self, account: DeletedAccount) -> None:
        """Erase a deleted account's history and totals, or make its history anonymous, as far as now possible."""
        user_id = account.user_id
        if account.erase:
            await self._prune(self._settled(), user_id)
            await self._in_batches(self.deleted_accounts.erase_totals, user_id)
            # A row can't be erased while its event waits to be published or is a dead letter.
            waiting = await self.history.sizes(user_id, None, 1)
            finished = not waiting and account.deleted_ms < await _ms_before(self.history, REDELIVERY)
        else:
            last: bytes | None = bytes(16)
            while last is not None and (last := await self.deleted_accounts.anonymize(user_id, last, BATCH)):
                await self._pause(_PAUSE_SECONDS)
            finished = account.deleted_ms < await _ms_before(self.history, LAST_ROWS)
        if finished:  # no more rows can be recorded, and no more events counted
            await self.deleted_accounts.finish(user_id)

    async def _trim(self, user_id: bytes) -> None:
        """Delete the oldest rows of a user's history beyond the quota, but no rows of the last ``settling_seconds``."""
        quota = self.quota if self.quota_of is None else await self.quota_of(user_id)
        if quota is None:
            return
        weight, oldest = 0, None
        while sizes := await self.history.sizes(user_id, oldest, _PAGE):
            for row in sizes:
                weight += _weight(row.characters)
                if weight > quota and oldest is not None:  # the newest row always counts as fitting
                    await self._prune(min(oldest, self._settled()), user_id)
                    return
                oldest = row.id
            await self._pause(_READ_PAUSE_SECONDS)

    def _settled(self) -> bytes:
        """Return an id below which no process can commit further rows."""
        return first_id_of_ms(int((self.clock() - self.settling_seconds) * 1000))

    async def _prune(self, before: bytes, user_id: bytes | None = None) -> None:
        while gone := await self.history.prune(before, BATCH, user_id):
            self.metrics.history_pruned.inc(gone)
            await self._pause(_PAUSE_SECONDS)

    async def _in_batches(self, delete: Callable[[_T, int], Awaitable[int]], of: _T) -> None:
        """Call ``delete(of, BATCH)`` until it returns 0, the number of deleted rows."""
        while await delete(of, BATCH):
            await self._pause(_PAUSE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Leave the database to others for ``seconds``. Raises _ClosingError as soon as the service is closing."""
        if await wait_until_set(self._closing, seconds):
            raise _ClosingError
