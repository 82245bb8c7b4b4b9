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
    """The processes that run on the database."""

    async def report(self, instance: Instance, oldest_ms: int) -> None:
        """Store the state of a process, and forget all processes that were last seen before ``oldest_ms``."""

    async def forget(self, instance_id: bytes) -> None:
        """Delete a process that ends."""

    async def all(self, limit: int) -> list[Instance]:
        """Return up to ``limit`` processes, the oldest first."""
