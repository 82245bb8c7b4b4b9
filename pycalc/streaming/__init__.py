"""The event stream. ``open_stream`` selects the backend by URL."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import Stream
from pycalc.urls import scheme_of

_STREAMS = {
    "memory": "pycalc.streaming.memory:MemoryStream",
    "kafka": "pycalc.streaming.kafka.stream:KafkaStream",
    "kafka+ssl": "pycalc.streaming.kafka.stream:KafkaStream",
    "pubsub": "pycalc.streaming.pubsub.stream:PubSubStream",
}


async def open_stream(url: str, metrics: EventMetrics, credentials: str = "") -> Stream:
    """Open the stream at a URL, without waiting for its broker.

    ``credentials`` are ``user:password``, so that the URL need not contain a secret. Raises ValueError for an unknown
    scheme, a malformed URL, an invalid name or an invalid option. The driver is imported at the first call.
    """
    scheme = scheme_of(url)
    if scheme not in _STREAMS:
        known = ", ".join(_STREAMS)
        raise ValueError(f"PYCALC_STREAM_URL: there is no stream for {scheme!r}; known: {known}")
    module, _, name = _STREAMS[scheme].partition(":")
    backend: Callable[[str, EventMetrics, str], Stream] = getattr(import_module(module), name)
    try:
        return backend(url, metrics, credentials)
    except ValueError as error:
        raise ValueError(f"PYCALC_STREAM_URL: {error}") from None
