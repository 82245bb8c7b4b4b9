"""Idempotency keys, which clients send with requests so that a retry records nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pycalc.models.history import HistoryRow
from pycalc.models.ids import now_ms

ID_BYTES = 16


class KeyRow(NamedTuple):
    """A recorded request with an idempotency key. The fields are in the order of the table's columns."""

    id: bytes
    fingerprint: bytes
    calculations: bytes  # the ids of the rows that the request recorded, one after the other
    problems: bytes | None  # the packed problems of a batch
    created_ms: int

    @property
    def calculation_ids(self) -> list[bytes]:
        """Return the ids of the history rows that the request recorded, in the order of its calculations."""
        return [self.calculations[start : start + ID_BYTES] for start in range(0, len(self.calculations), ID_BYTES)]


class RequestKey(NamedTuple):
    """The idempotency key of a user's request: an id, and the fingerprint of the request."""

    id: bytes
    fingerprint: bytes
    problems: bytes | None = None

    def row(self, rows: Sequence[HistoryRow]) -> KeyRow:
        """Return the row that stores this key. It contains the ids of ``rows``, which the request records."""
        return KeyRow(self.id, self.fingerprint, b"".join(row.id for row in rows), self.problems, now_ms())
