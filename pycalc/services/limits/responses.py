"""Limits on responses: on their memory, shared fairly between users, and on how slowly clients may read (ADR 18)."""

from __future__ import annotations

from typing import NamedTuple

from pycalc.observability.metrics import Metrics
from pycalc.services.limits.concurrency import ConcurrencyLimit

# Responses up to this size are not counted, to save time. The limit on connections bounds their memory.
UNCOUNTED_BYTES = 64 * 1024


class ReadingSpeed(NamedTuple):
    """The slowest speed at which clients may read responses: ``rate`` bytes a second, after ``seconds`` of grace."""

    seconds: float
    rate: float


def response_memory(metrics: Metrics, total: int) -> ConcurrencyLimit:
    """Return a limit of ``total`` bytes on the memory of long responses and long request bodies.

    The memory of a response counts from before the response is built until its last byte is sent.
    """
    refused = metrics.requests_refused.labels("memory")
    limit = ConcurrencyLimit(total, refused, "Too many long responses are being made or sent.")
    metrics.response_bytes.set_function(lambda: limit.taken)
    return limit
