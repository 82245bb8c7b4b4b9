"""Limits on responses: their memory, shared fairly between users, and the time to read them (ADR 18)."""

from __future__ import annotations

from typing import NamedTuple

from pycalc.observability.metrics import Metrics
from pycalc.services.limits.concurrency import ConcurrencyLimit

UNCOUNTED_BYTES = 64 * 1024
# Shorter responses are not counted, to save time; the limit on connections bounds them.


class ReadingSpeed(NamedTuple):
    """The slowest speed at which a client may read: ``rate`` bytes a second, after a grace of ``seconds``."""

    seconds: float
    rate: float


def response_memory(metrics: Metrics, total: int) -> ConcurrencyLimit:
    """Return a limit on the bytes of all responses in progress.

    A response holds its bytes from before it is built until its last byte is sent.
    """
    refused = metrics.requests_refused.labels("memory")
    limit = ConcurrencyLimit(total, refused, "Too many long responses are being made or sent.")
    metrics.response_bytes.set_function(lambda: limit.taken)
    return limit
