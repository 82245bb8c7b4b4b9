"""The event stream; open_stream picks the backend by URL."""

from __future__ import annotations

from pycalc.observability.metrics import Metrics
from pycalc.streaming.base import Stream


async def open_stream(url: str, metrics: Metrics) -> Stream:
    """Open the stream that a URL names; raises ValueError for an unknown scheme."""
    scheme = url.partition(":")[0]
    if scheme != "memory":
        raise ValueError(f"PYCALC_STREAM_URL: there is no stream for {scheme!r}; known: memory")
    from pycalc.streaming.memory import MemoryStream

    return MemoryStream(metrics)
