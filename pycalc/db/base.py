"""What the services know of the database: stores, and the unit of work that their SQL runs in.

A store's method is one transaction; when a writing method returns, its effect is durable. Every method
raises StoreUnavailable when the database does not answer in time, can't write or is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Table

from pycalc.models.auth import Role, StoredKey, User
from pycalc.models.history import HistoryRow
from pycalc.models.usage import Total, Use

T = TypeVar("T")

ROWS_AT_ONCE = 128
"""Rows that one append records with one statement; more of them take more statements."""


class Database(Protocol):
    """Runs units of work: plain functions over a connection, never blocking the event loop, each in one transaction."""

    @property
    def shared(self) -> bool:
        """Whether other processes may use the database at the same time."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` reads; it can't write."""
        ...

    async def read_reserved(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` reads on a connection that is kept for this, however busy the readers are."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returned, once its transaction is durable; roll back when it raises."""
        ...

    async def insert(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert whole rows, all or none, in a transaction of their own, and return once that is durable.

        Raises Conflict when a row can't be stored whatever is tried. The short way that the recorder takes.
        """
        ...

    def under_way(self) -> Mapping[str, int]:
        """Return how many units of work each lane has, those that wait included; every lane is bounded."""
        ...

    async def ping(self) -> None:
        """Return when the database answers; raises StoreUnavailable too when it says that it is read-only."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun and let go of the database."""
        ...


class HistoryFilter(NamedTuple):
    """A selection of the history; None selects all."""

    user_ids: tuple[bytes, ...] | None = None
    operation: str | None = None
    since: bytes | None = None
    """Ids from here on."""
    until: bytes | None = None
    """Ids before this one."""
    since_ms: int | None = None
    """Recorded from this time on; the bounds of ids are there to find such rows by an index."""
    until_ms: int | None = None
    """Recorded before this time."""


class UserStore(Protocol):
    """Accounts, and the one-time token for the first admin."""

    async def add(self, user: User, *, burn_bootstrap: bytes | None = None, granted_by: bytes | None = None) -> None:
        """Insert an account, and in the same transaction see to it that this is allowed.

        With ``burn_bootstrap`` use up the token of that hash; with ``granted_by`` an admin of that id must be there,
        and be able to act. Raises Forbidden, and Conflict when the username or the address is taken.
        """
        ...

    async def by_username(self, username: str) -> User | None:
        """Return the account of that name, letter case aside."""
        ...

    async def by_id(self, user_id: bytes) -> User | None:
        """Return the account of that id."""
        ...

    async def id_of(self, username: str) -> bytes | None:
        """Return the id of the account of that name, letter case aside, or of the last deleted one that had it."""
        ...

    async def page(self, after: str | None, limit: int) -> list[User]:
        """Return up to ``limit`` accounts by name, those after a name."""
        ...

    async def change(self, username: str, role: Role | None, disabled: bool | None) -> User:
        """Change an account's role or whether it is disabled, and return it; a disabled one's sessions end.

        Raises NotFound, or Conflict when no admin would be left.
        """
        ...

    async def upgrade_hash(self, user_id: bytes, before: str, after: str) -> bool:
        """Store a password's new hash if the stored one is still ``before``; return whether it was."""
        ...

    async def set_password(self, user_id: bytes, before: str, after: str, session_id: bytes) -> None:
        """Store a new password's hash and end the user's sessions but the one that asks, in one transaction.

        Raises Unauthorized when the stored hash is not ``before`` any more, or that session has ended.
        """
        ...

    async def delete(self, username: str) -> User:
        """Delete an account and return what it was; its history stays.

        Raises NotFound, or Conflict for the last admin.
        """
        ...

    async def has_admin(self) -> bool:
        """Return whether there is an admin."""
        ...

    async def bootstrap_hash(self) -> bytes | None:
        """Return the hash of the bootstrap token in force."""
        ...

    async def offer_bootstrap(self, token_hash: bytes, *, replace: bool = True) -> bool:
        """Put a new bootstrap token in force unless there is an admin; return whether it is in force.

        Without ``replace`` one that is in force already stays.
        """
        ...


class KeyBearer(NamedTuple):
    """Whose API key it is, and until when."""

    user: User
    key_id: bytes
    expires_ms: int | None


class KeyStore(Protocol):
    """API keys."""

    async def add(self, key: StoredKey, key_hash: bytes, limit: int) -> None:
        """Insert a key; raises Conflict when the user has ``limit`` of them."""
        ...

    async def of_user(self, user_id: bytes) -> list[StoredKey]:
        """Return a user's keys, oldest first."""
        ...

    async def use(self, key_hash: bytes, now_ms: int) -> KeyBearer | None:
        """Return whose key has that hash and note its use; None when it is expired, or its account disabled."""
        ...

    async def remove(self, user_id: bytes, key_id: bytes) -> None:
        """Remove a user's key; raises NotFound."""
        ...


class NewSession(NamedTuple):
    """A session to open at a time, milliseconds since the epoch."""

    id: bytes
    user_id: bytes
    password_hash: str
    """What the password was verified against: it must be the account's still."""
    family_hash: bytes
    """Of the part that all refresh tokens of the session have in common."""
    refresh_hash: bytes
    now_ms: int


class Refresh(NamedTuple):
    """A refresh token that is presented, and the one to come after it, at a time in milliseconds since the epoch."""

    session_id: bytes
    family_hash: bytes
    presented: bytes
    replacement: bytes
    now_ms: int


class SessionLimits(NamedTuple):
    """How long sessions live, milliseconds, and how many a user has."""

    idle_ms: int
    absolute_ms: int
    grace_ms: int
    per_user: int


class Rotation(NamedTuple):
    """What came of a refresh: the session's user, or none; ``reused`` when it was refused and ended the session."""

    user: User | None
    reused: bool


class SessionStore(Protocol):
    """Open sessions."""

    async def open(self, session: NewSession, limits: SessionLimits) -> None:
        """Open a session; the user's expired ones go, and beyond the limit the ones used longest ago.

        Raises Unauthorized when the account is gone, disabled or has another password's hash.
        """
        ...

    async def bearer(self, user_id: bytes, session_id: bytes, now_ms: int, limits: SessionLimits) -> User | None:
        """Return the user of a session that is open, and neither idle nor old beyond the limits."""
        ...

    async def rotate(self, refresh: Refresh, limits: SessionLimits) -> Rotation:
        """Replace a refresh token of a session by its successor.

        A token that was replaced is good for the time of grace still: it gives another successor, which goes on as a
        chain of its own. Any older token of the session's family ends the session; what is not of its family changes
        nothing, and writes nothing.
        """
        ...

    async def close(self, session_id: bytes) -> None:
        """End a session."""
        ...

    async def close_all(self, user_id: bytes) -> None:
        """End all sessions of a user."""
        ...


class Revocations(NamedTuple):
    """What was revoked after a number."""

    newest: int
    """The number of the newest revocation."""
    users: frozenset[bytes] | None
    """Whose tokens are to be looked up anew; None for everybody's: too many revocations ago to tell."""


class RevocationStore(Protocol):
    """Revocations of all processes on the database, numbered in the order of their commits.

    What revokes something notes it in the same transaction: logout, a new password, a change of role, disabling,
    deletion, the removal of a key, and the reuse of a refresh token.
    """

    async def newest(self) -> int:
        """Return the number of the newest revocation, 0 when there was none."""
        ...

    async def since(self, number: int) -> Revocations:
        """Return what was revoked after the revocation of that number."""
        ...


class HistoryStore(Protocol):
    """Recorded calculations."""

    async def append(self, rows: Sequence[HistoryRow]) -> None:
        """Record calculations with their outbox entries, all or none, in one transaction.

        Raises Conflict when one of the rows can't be stored whatever is tried.
        """
        ...

    async def probe(self) -> None:
        """Write something that changes nothing, and return once that is durable."""
        ...

    async def page(self, selection: HistoryFilter, before: bytes | None, limit: int) -> list[HistoryRow]:
        """Return up to ``limit`` rows, newest first, with ids below ``before``."""
        ...

    async def following(self, selection: HistoryFilter, after: bytes, limit: int) -> list[HistoryRow]:
        """Return up to ``limit`` rows, oldest first, with ids above ``after``."""
        ...

    async def prune(self, before: bytes, limit: int) -> int:
        """Delete up to ``limit`` of the oldest rows with ids below ``before``, and return how many.

        Neither a row whose event is not published yet nor any that came after it is deleted. ``before`` must lie in the
        past, so that no row that is recorded meanwhile is below it.
        """
        ...


class OutboxRow(NamedTuple):
    """A recorded calculation whose event is to be published."""

    seq: int
    row: HistoryRow


class DeadLetter(NamedTuple):
    """An event that could not be delivered, or a message that is none."""

    number: int
    stage: str
    """Where it failed: ``relay`` or ``consumer``."""
    event_id: bytes | None
    """None for what is no event of this service."""
    origin: str
    reason: str
    payload: bytes
    created_ms: int


class OutboxStore(Protocol):
    """Events that were recorded and not yet published."""

    async def hold(self, owner: bytes, milliseconds: int) -> bool:
        """Take the lease that allows to publish, or prolong it; return whether ``owner`` has it for so long now."""
        ...

    async def release(self, owner: bytes) -> None:
        """Give the lease back, if ``owner`` has it."""
        ...

    async def pending(self, after: int, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` entries in order of commit, with sequence numbers above ``after``."""
        ...

    async def remove(self, seqs: Sequence[int]) -> None:
        """Delete published entries."""
        ...

    async def put_aside(self, letters: Mapping[int, DeadLetter]) -> None:
        """Move entries, by their sequence numbers, to the dead letters, in one transaction."""
        ...

    async def backlog(self) -> int:
        """Return the number of unpublished entries."""
        ...


class DeadLetterStore(Protocol):
    """Events put aside so that the rest flows on, until an admin looks at them."""

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """Add letters."""
        ...

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        """Return up to ``limit`` letters in the order of their numbers, those above ``after``."""
        ...

    async def requeue(self, number: int) -> bool:
        """Put a letter's event back into the outbox; return False when it is no event, or not in the history."""
        ...

    async def discard(self, number: int) -> bool:
        """Delete a letter; return whether there was one."""
        ...

    async def size(self) -> int:
        """Return the number of letters."""
        ...


class UsageFilter(NamedTuple):
    """A selection of the totals; None selects all."""

    user_ids: tuple[bytes, ...] | None = None
    since: int | None = None
    """Days from this one on, since 1970-01-01."""
    until: int | None = None
    """Days before this one."""


class UsageStore(Protocol):
    """Usage totals, by user, day and operation."""

    async def count(self, uses: Sequence[Use]) -> int:
        """Add what was not counted yet, by event id, in one transaction; return how many that were.

        Raises Conflict when another consumer counts some of them at the same time: then none was added, try again.
        """
        ...

    async def totals(self, selection: UsageFilter, limit: int) -> list[Total]:
        """Return the sums by day and operation, newest day first, at most ``limit`` of them."""
        ...
