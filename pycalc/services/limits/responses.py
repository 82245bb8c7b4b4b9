"""What responses may cost: their memory, shared fairly between users, and the time to read them (ADR 18)."""

from __future__ import annotations

from typing import NamedTuple

from pycalc.observability.metrics import Metrics
from pycalc.services.limits.concurrency import ConcurrencyLimit

UNCOUNTED_BYTES = 64 * 1024
"""Responses up to this size are not counted, which would cost them time: the bound on connections bounds them."""


class Pace(NamedTuple):
    """How fast a client must read: it may be late by ``seconds`` at most, at ``rate`` bytes a second."""

    seconds: float
    rate: float


def response_memory(metrics: Metrics, total: int) -> ConcurrencyLimit:
    """Return the limit whose slots are the bytes of a response, from before it is made until its last byte is sent."""
    refused = metrics.requests_refused.labels("memory")
    limit = ConcurrencyLimit(total, refused, "Too many long responses are being made or sent.")
    metrics.response_bytes.set_function(lambda: limit.taken)
    return limit
