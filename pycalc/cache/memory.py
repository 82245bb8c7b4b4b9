"""An LRU cache in this process, limited in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf

from pycalc.models.results import Result
from pycalc.observability.metrics import CacheMetrics
from pycalc.urls import url_options, whole_option

DEFAULT_MAX_BYTES = 128 * 1024 * 1024
_ENTRY_BYTES = 1_200  # bytes of the objects around a result's key and text, measured with tracemalloc
_LARGEST_SHARE = 4  # a result over a quarter of the bound is not cached, because it would evict many others


class MemoryCache:
    """An LRU cache whose results use at most ``max_bytes`` bytes of memory."""

    def __init__(self, max_bytes: int, metrics: CacheMetrics) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, Result] = OrderedDict()
        metrics.cache_bytes.set_function(lambda: self._bytes)
        metrics.cache_entries.set_function(lambda: len(self._entries))

    @classmethod
    async def of_url(cls, url: str, metrics: CacheMetrics, version: Callable[[], str]) -> MemoryCache:
        """Return the cache for ``memory://?max_bytes=N``. Raises ValueError for an invalid URL, option or number."""
        return cls(whole_option(url_options(url, {"max_bytes"}), "max_bytes", DEFAULT_MAX_BYTES, 0), metrics)

    async def get(self, key: str, cost: float = inf) -> Result | None:
        result = self._entries.get(key)
        if result is not None:
            self._entries.move_to_end(key)
        return result

    async def put(self, key: str, result: Result, cost: float = inf) -> None:
        size = _size(key, result)
        if size * _LARGEST_SHARE > self._max_bytes:
            return
        replaced = self._entries.pop(key, None)
        if replaced is not None:
            self._bytes -= _size(key, replaced)
        self._entries[key] = result
        self._bytes += size
        while self._bytes > self._max_bytes:
            oldest, evicted = self._entries.popitem(last=False)
            self._bytes -= _size(oldest, evicted)

    async def ping(self) -> None:
        return

    async def aclose(self) -> None:
        self._entries.clear()
        self._bytes = 0


def _size(key: str, result: Result) -> int:
    return _ENTRY_BYTES + len(key) + len(result.head) + len(result.text)
