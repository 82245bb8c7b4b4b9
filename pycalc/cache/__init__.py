"""Results kept for a second asking; open_cache picks the backend by URL."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from pycalc.cache.base import Cache
from pycalc.observability.metrics import Metrics


async def open_cache(url: str, metrics: Metrics) -> Cache:
    """Open the cache that a URL names; raises ValueError for an unknown scheme or a bad option."""
    parts = urlsplit(url)
    if parts.scheme != "memory":
        raise ValueError(f"PYCALC_CACHE_URL: there is no cache for {parts.scheme!r}; known: memory")
    from pycalc.cache.memory import DEFAULT_MAX_BYTES, MemoryCache

    options = parse_qs(parts.query)
    return MemoryCache(int(options.pop("max_bytes", [str(DEFAULT_MAX_BYTES)])[0]), metrics)
