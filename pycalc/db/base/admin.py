"""The interfaces of the stores for admins: the audit log, and the list of running processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pycalc.models.audit import AuditEntry, AuditFilter


class AuditStore(Protocol):
    """The audit log. Entries are added, never changed, and deleted only by age."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Add entries in one transaction. Skip an entry whose id exists already."""

    async def page(self, selection: AuditFilter, before: bytes | None, limit: int) -> list[AuditEntry]:
        """Return up to ``limit`` of the selected entries, newest first, with ids below ``before`` unless it is None."""

    async def prune(self, before: bytes, limit: int) -> int:
        """Delete up to ``limit`` entries with ids below ``before``; return how many were deleted."""


class Instance(NamedTuple):
    """A process of the service and its latest figures; times are in milliseconds since the epoch."""

    id: bytes
    command: str  # serve, relay or consume
    version: str
    started_ms: int
    seen_ms: int
    figures: str  # a JSON object


class InstanceStore(Protocol):
    """The list of processes that use the database."""

    async def report(self, instance: Instance, oldest_ms: int) -> None:
        """Store the state of a process, and remove processes from the list that did not report since ``oldest_ms``."""

    async def forget(self, instance_id: bytes) -> None:
        """Remove a process from the list."""

    async def all(self, limit: int) -> list[Instance]:
        """Return up to ``limit`` processes, the oldest first."""
