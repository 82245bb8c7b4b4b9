"""The event stream. ``open_stream`` selects the backend by URL."""

from __future__ import annotations

from pycalc.observability.metrics import EventMetrics
from pycalc.streaming.base import Stream
from pycalc.urls import backend_of

_STREAMS = {
    "memory": "pycalc.streaming.memory:MemoryStream",
    "kafka": "pycalc.streaming.kafka.stream:KafkaStream",
    "kafka+ssl": "pycalc.streaming.kafka.stream:KafkaStream",
    "pubsub": "pycalc.streaming.pubsub.stream:PubSubStream",
}


async def open_stream(url: str, metrics: EventMetrics, credentials: str = "") -> Stream:
    """Open the stream at a URL, without waiting for its broker. Its driver is imported only now.

    ``credentials`` are ``user:password`` or empty. Raises ValueError for an unknown scheme, a malformed URL, an invalid
    name or option, or credentials for a ``pubsub`` URL.
    """
    with backend_of(url, "stream", _STREAMS) as backend:
        stream: Stream = backend(url, metrics, credentials)
    return stream
