"""The interface of the store of running processes."""

from __future__ import annotations

from typing import NamedTuple, Protocol


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
