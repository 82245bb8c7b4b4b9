"""The interface of the audit log's store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pycalc.models.audit import AuditEntry, AuditFilter


class AuditStore(Protocol):
    """The audit log. Entries are added, never changed, and deleted only by age."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Add entries in one transaction. Skip an entry whose id exists already."""

    async def page(self, selection: AuditFilter, before: bytes | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` of the selected entries, newest first, with ids below ``before`` unless it is None."""

    async def prune(self, before: bytes, limit: int) -> int:
        """Delete up to ``limit`` entries with ids below ``before``; return how many were deleted."""
