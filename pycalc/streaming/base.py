"""What the services know of an event stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from pycalc.models.events import Event


class Stream(Protocol):
    """Takes events; those of one key arrive in the order in which they were published."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all of the events are taken for good; raises StreamUnavailable when they may not be."""
        ...

    async def ping(self) -> None:
        """Return when the stream answers; raises StreamUnavailable otherwise."""
        ...

    async def aclose(self) -> None:
        """Let go of the stream; subscriptions end."""
        ...


@runtime_checkable
class Subscribable(Protocol):
    """A stream that can be listened to."""

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Return the events published from now on.

        The iteration ends when the stream closes, or when its reader has fallen too far behind: the writer never waits.
        """
        ...
