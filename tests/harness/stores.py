"""Simplified stores in memory for the protocols of ``pycalc.db.base``; tests can make some of them fail or hang."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter

from pycalc.db.base import (
    DeadLetter,
    DeletedAccount,
    Deletion,
    HistoryFilter,
    KeyBearer,
    KeyUse,
    NewSession,
    OutboxRow,
    ProviderIdentity,
    QuotaTotal,
    QuotaUse,
    RefreshHashes,
    Rotation,
    RowSize,
    SessionLimits,
    StoredTotp,
    UsageFilter,
)
from pycalc.errors import Conflict, Forbidden, KeysTaken, NotFound, RowsRejected, Unauthorized
from pycalc.models.audit import AuditEntry, AuditFilter
from pycalc.models.auth import DELETED_NAME, Role, StoredKey, StoredSession, User
from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow
from pycalc.models.ids import IdSource, now_ms
from pycalc.models.limits import OwnLimits
from pycalc.models.usage import Total, Use

USER_ID = bytes.fromhex("019aab127c0071238456426614174000")
_ids = IdSource()
# A deletion that keeps the history with the user's name, and releases the name at once.
KEEPING = Deletion("keep", 0, 0)


def history_row(number: int = 0, *, user_id: bytes = USER_ID, operation: str = "fibonacci") -> HistoryRow:
    """Return a valid calculation with a new id and ``number`` as its operand."""
    return HistoryRow(
        id=_ids.next(),
        user_id=user_id,
        username="ada",
        operation=operation,
        input=f'{{"n":{number}}}',
        result="55",
        digits="2",
        exact=True,
        leading="55",
        trailing="55",
        sha256=bytes(32),
        cached=False,
        elapsed_us=20,
    )


class MemoryHistoryStore:
    """A history in memory, with the ids of its unpublished events."""

    def __init__(self) -> None:
        self.rows: list[HistoryRow] = []
        # The rows of each call of ``append``.
        self.batches: list[list[HistoryRow]] = []
        # Ids of rows that can't be stored.
        self.refused: set[bytes] = set()
        # Ids of rows whose events are in the outbox.
        self.unpublished: set[bytes] = set()
        self.failure: Exception | None = None
        # How far the database's clock is ahead of this host's.
        self.clock_ahead_ms = 0
        # While this event is not set, ``append`` hangs.
        self.open = asyncio.Event()
        self.probes = 0
        self.keys = MemoryIdempotencyStore()
        self.open.set()

    async def append(self, rows: Sequence[HistoryRow], keys: Sequence[KeyRow] = ()) -> None:
        self.batches.append(list(rows))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        if any(row.id in self.refused for row in rows):
            raise RowsRejected("The database rejects the values of these rows.")
        if taken := {key.id for key in keys} & self.keys.stored.keys():
            raise KeysTaken("Requests with these idempotency keys are recorded.", frozenset(taken))
        if len({key.id for key in keys}) < len(keys):
            raise RowsRejected("Two of these rows have the same primary key.")
        self.rows += rows
        self.keys.stored |= {key.id: key for key in keys}

    async def clock_ms(self) -> int:
        return now_ms() + self.clock_ahead_ms

    async def probe(self) -> None:
        self.probes += 1
        await self.open.wait()
        if self.failure is not None:
            raise self.failure

    async def page(self, selection: HistoryFilter, before: bytes | None, limit: int) -> list[HistoryRow]:
        if self.failure is not None:
            raise self.failure
        rows = [row for row in self._matching(selection) if before is None or row.id < before]
        return rows[::-1][:limit]

    async def find(self, identity: bytes) -> HistoryRow | None:
        return next((row for row in self.rows if row.id == identity), None)

    async def find_all(self, identities: Sequence[bytes]) -> list[HistoryRow]:
        found = [await self.find(identity) for identity in identities]
        return [row for row in found if row is not None]

    async def following(self, selection: HistoryFilter, after: bytes, limit: int) -> list[HistoryRow]:
        return [row for row in self._matching(selection) if row.id > after][:limit]

    async def user_after(self, user_id: bytes) -> bytes | None:
        return min((row.user_id for row in self.rows if row.user_id > user_id), default=None)

    async def sizes(self, user_id: bytes, before: bytes | None, limit: int) -> list[RowSize]:
        rows = await self.page(HistoryFilter((user_id,)), before, limit)
        return [RowSize(row.id, len(row.input) + len(row.result or "") + len(row.digits)) for row in rows]

    async def prune(self, before: bytes, limit: int, user_id: bytes | None = None) -> int:
        if self.failure is not None:
            raise self.failure
        bound = min([before, *self.unpublished])
        old = sorted(row for row in self.rows if row.id < bound and user_id in (None, row.user_id))[:limit]
        self.rows = [row for row in self.rows if row not in old]
        return len(old)

    def _matching(self, selection: HistoryFilter) -> list[HistoryRow]:
        return [
            row
            for row in sorted(self.rows)
            if (selection.user_ids is None or row.user_id in selection.user_ids)
            and selection.operation in (None, row.operation)
            and (selection.above is None or row.id > selection.above)
            and (selection.until is None or row.id < selection.until)
            and (selection.since_ms is None or row.time_ms >= selection.since_ms)
            and (selection.until_ms is None or row.time_ms < selection.until_ms)
        ]


class MemoryIdempotencyStore:
    """Idempotency keys in memory."""

    def __init__(self) -> None:
        self.stored: dict[bytes, KeyRow] = {}

    async def find(self, identity: bytes) -> KeyRow | None:
        return self.stored.get(identity)

    async def forget(self, before_ms: int, limit: int) -> int:
        old = [key.id for key in sorted(self.stored.values(), key=attrgetter("created_ms"))]
        old = [identity for identity in old if self.stored[identity].created_ms < before_ms][:limit]
        self.stored = {identity: key for identity, key in self.stored.items() if identity not in old}
        return len(old)


class MemoryUsageStore:
    """The ids of counted events in memory, without totals."""

    def __init__(self) -> None:
        self.counted: set[bytes] = set()

    async def count(self, uses: Sequence[Use]) -> int:
        before = len(self.counted)
        self.counted |= {use.event_id for use in uses}
        return len(self.counted) - before

    async def forget(self, before: bytes, limit: int) -> int:
        old = sorted(event_id for event_id in self.counted if event_id < before)[:limit]
        self.counted -= set(old)
        return len(old)

    async def totals(self, selection: UsageFilter, limit: int) -> list[Total]:
        return []


class MemoryDeletedAccountStore:
    """Deleted accounts in memory, and the history from which their names are removed."""

    def __init__(self, history: MemoryHistoryStore) -> None:
        self._history = history
        self.accounts: dict[bytes, DeletedAccount] = {}
        # How many usage totals each user has.
        self.totals: dict[bytes, int] = {}

    async def following(self, user_id: bytes) -> DeletedAccount | None:
        return min((account for key, account in self.accounts.items() if key > user_id), default=None)

    async def anonymize(self, user_id: bytes, after: bytes, limit: int) -> bytes | None:
        ids = sorted(row.id for row in self._history.rows if row.user_id == user_id and row.id > after)[:limit]
        self._history.rows = [
            row._replace(username=DELETED_NAME) if row.id in ids else row for row in self._history.rows
        ]
        return ids[-1] if ids else None

    async def erase_totals(self, user_id: bytes, limit: int) -> int:
        erased = min(limit, self.totals.get(user_id, 0))
        self.totals[user_id] = self.totals.get(user_id, 0) - erased
        return erased

    async def finish(self, user_id: bytes) -> None:
        del self.accounts[user_id]

    async def release_names(self, now_ms: int, limit: int) -> int:
        return 0


class MemoryOutboxStore:
    """An outbox in memory."""

    def __init__(self, rows: Sequence[HistoryRow] = ()) -> None:
        self.entries = dict(enumerate(rows, 1))
        self.letters: list[DeadLetter] = []
        self.failure: Exception | None = None
        # The relay that holds the lease, or None if the next relay that asks for it gets it.
        self.holder: bytes | None = None
        self.released = False

    def add(self, rows: Sequence[HistoryRow]) -> None:
        """Append the events of ``rows``."""
        first = max(self.entries, default=0) + 1
        self.entries.update(enumerate(rows, first))

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        if self.failure is not None:
            raise self.failure
        self.holder = self.holder or owner
        return self.holder == owner

    async def release(self, owner: bytes) -> None:
        self.released = True
        if self.holder == owner:
            self.holder = None

    async def dead_letter(self, letters: Mapping[int, DeadLetter]) -> None:
        await self.remove(list(letters))
        self.letters += letters.values()

    async def pending(self, limit: int) -> list[OutboxRow]:
        if self.failure is not None:
            raise self.failure
        return [OutboxRow(seq, row) for seq, row in islice(self.entries.items(), limit)]

    async def remove(self, seqs: Sequence[int]) -> None:
        for seq in seqs:
            del self.entries[seq]

    async def backlog(self) -> int:
        if self.failure is not None:
            raise self.failure
        return len(self.entries)

    async def refill(self, after: bytes, limit: int) -> tuple[int, bytes | None]:
        return 0, None  # no event is lost


class MemoryUserStore:
    """Accounts in memory, with the store of their sessions."""

    def __init__(self) -> None:
        self.users: dict[bytes, User] = {}
        self.sessions = MemorySessionStore(self)
        self.identities: dict[ProviderIdentity, bytes] = {}
        self.retired: list[User] = []
        self.audit: list[AuditEntry] = []  # the audit entries that were stored together with changes
        self.token_hash: bytes | None = None

    async def add(
        self,
        user: User,
        *,
        burn_bootstrap: bytes | None = None,
        granted_by: bytes | None = None,
        identity: ProviderIdentity | None = None,
        audit: AuditEntry | None = None,
    ) -> None:
        self._require_admin(granted_by)
        if burn_bootstrap is not None and (burn_bootstrap != self.token_hash or await self.has_admin()):
            raise Forbidden("The bootstrap token is not valid.")
        taken = {name for known in self.users.values() for name in (known.username.lower(), known.email.lower())}
        if {user.username.lower(), user.email.lower()} & taken:
            raise Conflict("The username or the email address is taken.")
        self.token_hash = self.token_hash if burn_bootstrap is None else None
        self.users[user.id] = user
        if identity is not None:
            self.identities[identity] = user.id
        self.audit += [] if audit is None else [audit]

    async def by_identity(self, identity: ProviderIdentity) -> User | None:
        return self.users.get(self.identities.get(identity, b""))

    async def by_username(self, username: str) -> User | None:
        return next((user for user in self.users.values() if user.username.lower() == username.lower()), None)

    async def by_id(self, user_id: bytes) -> User | None:
        return self.users.get(user_id)

    async def change(
        self,
        username: str,
        role: Role | None,
        disabled: bool | None,
        limits: OwnLimits | None = None,
        *,
        granted_by: bytes | None = None,
        audit: AuditEntry | None = None,
    ) -> User:
        self._require_admin(granted_by)
        user = await self.by_username(username)
        if user is None:
            raise NotFound("There is no such user.")
        changed = replace(
            user,
            role=user.role if role is None else role,
            disabled=user.disabled if disabled is None else disabled,
            limits=user.limits.model_copy(update={} if limits is None else limits.model_dump(exclude_unset=True)),
        )
        self.users[user.id] = changed
        if changed.disabled:
            await self.sessions.close_all(user.id)
        self.audit += [] if audit is None else [audit]
        return changed

    async def upgrade_hash(self, user_id: bytes, before: str, after: str) -> bool:
        if self.users[user_id].password_hash != before:
            return False
        self.users[user_id] = replace(self.users[user_id], password_hash=after)
        return True

    async def set_password(self, user_id: bytes, before: str, after: str, session_id: bytes) -> None:
        if session_id not in self.sessions.open_ones or not await self.upgrade_hash(user_id, before, after):
            raise Unauthorized("The session has ended, or the password is another by now.")
        for session in [known for known in self.sessions.open_ones.values() if known.user_id == user_id]:
            if session.id != session_id:
                await self.sessions.close(user_id, session.id)

    async def id_of(self, username: str) -> bytes | None:
        everyone = (*self.users.values(), *reversed(self.retired))
        return next((user.id for user in everyone if user.username.lower() == username.lower()), None)

    async def delete(
        self,
        username: str,
        deletion: Deletion,
        *,
        granted_by: bytes | None = None,
        audit: AuditEntry | None = None,
    ) -> User:
        self._require_admin(granted_by)
        user = await self.by_username(username)
        if user is None:
            raise NotFound("There is no such user.")
        if deletion.password_hash not in (None, user.password_hash):
            raise Unauthorized("The password was changed meanwhile.")
        if user.role is Role.ADMIN and sum(known.role is Role.ADMIN for known in self.users.values()) == 1:
            raise Conflict("The last admin can't be deleted.")
        self.retired.append(self.users.pop(user.id))
        self.audit += [] if audit is None else [audit]
        return user

    def _require_admin(self, granted_by: bytes | None) -> None:
        admin = None if granted_by is None else self.users.get(granted_by)
        if granted_by is not None and (admin is None or admin.role is not Role.ADMIN or admin.disabled):
            raise Forbidden("Only an admin may do this.")

    async def has_admin(self) -> bool:
        return any(user.role is Role.ADMIN for user in self.users.values())

    async def bootstrap_hash(self) -> bytes | None:
        return self.token_hash

    async def offer_bootstrap(self, token_hash: bytes, *, replace: bool = True) -> bool:
        if await self.has_admin() or (self.token_hash is not None and not replace):
            return False
        self.token_hash = token_hash
        return True


class MemorySessionStore:
    """Sessions in memory. A replaced refresh token ends its session at once, without the grace period of a database."""

    def __init__(self, users: MemoryUserStore) -> None:
        self._users = users
        self.open_ones: dict[bytes, NewSession] = {}

    async def open(self, session: NewSession, limits: SessionLimits) -> None:
        owner = self._users.users.get(session.user_id)
        if owner is None or owner.disabled or session.password_hash not in (None, owner.password_hash):
            raise Unauthorized("The account is gone, or its password is another by now.")
        self.open_ones[session.id] = session

    async def bearer(self, user_id: bytes, session_id: bytes, now_ms: int, limits: SessionLimits) -> User | None:
        return await self._users.by_id(user_id) if session_id in self.open_ones else None

    async def rotate(self, refresh: RefreshHashes, limits: SessionLimits) -> Rotation:
        session = self.open_ones.get(refresh.session_id)
        if session is None or session.family_hash != refresh.family_hash:
            return Rotation(None, False)
        if session.refresh_hash != refresh.presented:
            await self.close(session.user_id, session.id)
            return Rotation(await self._users.by_id(session.user_id), True)
        self.open_ones[session.id] = session._replace(refresh_hash=refresh.replacement)
        return Rotation(await self._users.by_id(session.user_id), False)

    async def of_user(self, user_id: bytes, now_ms: int, limits: SessionLimits) -> list[StoredSession]:
        mine = [session for session in self.open_ones.values() if session.user_id == user_id]
        return [StoredSession(each.id, each.now_ms, each.now_ms, each.device) for each in mine]

    async def close(self, user_id: bytes, session_id: bytes) -> None:
        session = self.open_ones.get(session_id)
        if session is None or session.user_id != user_id:
            raise NotFound("There is no such session.")
        del self.open_ones[session_id]

    async def close_all(self, user_id: bytes, granted_by: bytes | None = None) -> None:
        self.open_ones = {key: session for key, session in self.open_ones.items() if session.user_id != user_id}


class MemoryTotpStore:
    """The second factors of accounts, in memory."""

    def __init__(self, users: MemoryUserStore) -> None:
        self._users = users
        self.stored: dict[bytes, StoredTotp] = {}
        self.recovery: dict[bytes, set[bytes]] = {}

    async def offer(self, user_id: bytes, secret: bytes) -> None:
        if self._users.users[user_id].totp:
            raise Conflict("The account has a second factor.")
        self.stored[user_id] = StoredTotp(secret, None)

    async def of_user(self, user_id: bytes) -> StoredTotp | None:
        return self.stored.get(user_id)

    async def confirm(
        self, user_id: bytes, secret: bytes, step: int, recovery_hashes: Sequence[bytes], session_id: bytes
    ) -> None:
        self.stored[user_id] = StoredTotp(secret, step)
        self.recovery[user_id] = {*recovery_hashes}
        self._users.users[user_id] = replace(self._users.users[user_id], totp=True)

    async def use_step(self, user_id: bytes, step: int, before: bytes, after: bytes) -> bool:
        secret, last = self.stored[user_id]
        if last is None or step <= last or secret != before:
            return False
        self.stored[user_id] = StoredTotp(after, step)
        return True

    async def use_recovery(self, user_id: bytes, code_hash: bytes) -> bool:
        known = code_hash in self.recovery[user_id]
        self.recovery[user_id] -= {code_hash}
        return known

    async def remove(self, user_id: bytes, session_id: bytes | None, granted_by: bytes | None = None) -> None:
        if not self._users.users[user_id].totp:
            raise NotFound("The account has no second factor.")
        self.stored.pop(user_id)
        self._users.users[user_id] = replace(self._users.users[user_id], totp=False)


class MemoryKeyStore:
    """API keys in memory."""

    def __init__(self, users: MemoryUserStore) -> None:
        self._users = users
        self.stored: dict[bytes, StoredKey] = {}
        # The argument of each call of ``note``.
        self.noted: list[list[KeyUse]] = []
        self.failure: Exception | None = None

    async def add(self, key: StoredKey, key_hash: bytes, limit: int, session_id: bytes | None = None) -> None:
        self.stored[key_hash] = key

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        return [key for key in self.stored.values() if key.user_id == user_id]

    async def bearer(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        key = self.stored.get(key_hash)
        owner = None if key is None else await self._users.by_id(key.user_id)
        return None if key is None or owner is None else KeyBearer(owner, key)

    async def note(self, uses: Sequence[KeyUse]) -> None:
        if self.failure is not None:
            raise self.failure
        self.noted.append(list(uses))

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        self.stored = {digest: key for digest, key in self.stored.items() if key.id != key_id}


class MemoryAuditStore:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.error: Exception | None = None
        self.tries = 0

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.entries += [entry for entry in entries if entry not in self.entries]

    async def page(self, selection: AuditFilter, before: bytes | None, limit: int) -> list[AuditEntry]:
        newest = sorted(self.entries, reverse=True)
        return [entry for entry in newest if before is None or entry.id < before][:limit]

    async def prune(self, before: bytes, limit: int) -> int:
        old = sorted(entry for entry in self.entries if entry.id < before)[:limit]
        self.entries = [entry for entry in self.entries if entry not in old]
        return len(old)


class MemoryQuotaStore:
    """The used amounts of quotas, in memory."""

    def __init__(self) -> None:
        self.uses: dict[bytes, QuotaUse] = {}
        self.failure: Exception | None = None

    async def save(self, uses: Sequence[QuotaUse]) -> None:
        if self.failure is not None:
            raise self.failure
        self.uses |= {use.id: use for use in uses}

    async def totals(self, user_ids: Sequence[bytes], now: int, but: Sequence[bytes]) -> list[QuotaTotal]:
        if self.failure is not None:
            raise self.failure
        others = [use for use in self.uses.values() if use.user_id in user_ids and use.ends > now and use.id not in but]
        keys = {(use.user_id, use.quota, use.ends) for use in others}
        return [QuotaTotal(*key, sum(use.used for use in others if use[1:4] == key)) for key in keys]

    async def forget(self, now: int, limit: int) -> int:
        ended = [use.id for use in self.uses.values() if use.ends <= now][:limit]
        self.uses = {key: use for key, use in self.uses.items() if key not in ended}
        return len(ended)
