"""The interfaces of the history, and of the idempotency keys that are recorded with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pycalc.models.history import HistoryRow
from pycalc.models.idempotency import KeyRow


class HistoryFilter(NamedTuple):
    """A filter of history rows; a field that is None does not filter.

    The times, in milliseconds since the epoch, are exact. The ids let the database use an index. Their range is wider,
    because an id may be some seconds ahead of the clock.
    """

    user_ids: tuple[bytes, ...] | None = None
    operation: str | None = None
    above: bytes | None = None  # this id and ``until`` are excluded
    until: bytes | None = None
    since_ms: int | None = None  # inclusive
    until_ms: int | None = None  # exclusive


class RowSize(NamedTuple):
    """The size of a history row: the characters of its ``input``, ``result`` and ``digits`` together."""

    id: bytes
    characters: int


class HistoryStore(Protocol):
    """The store of recorded calculations."""

    async def append(self, rows: Sequence[HistoryRow], keys: Sequence[KeyRow] = ()) -> None:
        """Record calculations with their outbox rows and idempotency keys, all or none, in one transaction.

        Raises KeysTaken if some of ``keys`` are recorded, and RowsRejected if the database rejects a row's values.
        """

    async def probe(self) -> None:
        """Check that the database can write: change a row that holds no data, and return once this is durable."""

    async def clock_ms(self) -> int:
        """Return the time by the database's clock in milliseconds since the epoch, exact to a second."""

    async def page(self, selection: HistoryFilter, before: bytes | None, limit: int) -> list[HistoryRow]:
        """Return up to ``limit`` of the selected rows, newest first, with ids below ``before`` unless it is None."""

    async def find(self, identity: bytes) -> HistoryRow | None:
        """Return the row with this id, or None if there is none."""

    async def find_all(self, identities: Sequence[bytes]) -> list[HistoryRow]:
        """Return the rows with these ids, in the order of ``identities``. Skip ids without a row."""

    async def following(self, selection: HistoryFilter, after: bytes, limit: int) -> list[HistoryRow]:
        """Return up to ``limit`` of the selected rows with ids above ``after``, oldest first."""

    async def prune(self, before: bytes, limit: int, user_id: bytes | None = None) -> int:
        """Delete up to ``limit`` of the oldest rows with ids below ``before``; return how many were deleted.

        With ``user_id``, only rows of that user are deleted. A row whose event is a dead letter is kept. The first
        row with an unpublished event is kept, with all later rows. ``before`` must be an id of a past time, so that
        no row recorded meanwhile has a lower id.
        """

    async def user_after(self, user_id: bytes) -> bytes | None:
        """Return the lowest id above ``user_id`` of a user who has rows, or None if there is none."""

    async def sizes(self, user_id: bytes, before: bytes | None, limit: int) -> list[RowSize]:
        """Return the sizes of up to ``limit`` of a user's rows, newest first, with ids below ``before`` unless None."""


class IdempotencyStore(Protocol):
    """The recorded requests that had an idempotency key. ``HistoryStore.append`` adds them."""

    async def find(self, identity: bytes) -> KeyRow | None:
        """Return the request with this id, a digest of the user's id and the client's key, or None if there is none."""

    async def forget(self, before_ms: int, limit: int) -> int:
        """Delete up to ``limit`` requests older than ``before_ms``, since the epoch, oldest first; return how many."""
