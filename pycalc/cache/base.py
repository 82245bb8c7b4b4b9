"""What the services know of a cache."""

from __future__ import annotations

from typing import Protocol

from pycalc.models.results import Result


class Cache(Protocol):
    """Keeps results by their canonical key; bounded in bytes. What it gives back is what was put in, or None."""

    async def get(self, key: str) -> Result | None:
        """Return the result under a key; raises CacheUnavailable when the cache does not answer."""
        ...

    async def put(self, key: str, result: Result) -> None:
        """Keep a result if it fits; raises CacheUnavailable when the cache does not answer."""
        ...

    async def ping(self) -> None:
        """Return when the cache answers; raises CacheUnavailable otherwise."""
        ...

    async def aclose(self) -> None:
        """Let go of the cache."""
        ...
