"""A limit on look-ups of credentials, so that a flood of invalid credentials can't overload the database."""

from __future__ import annotations

from prometheus_client import Counter

from pycalc.services.limits.concurrency import QueueingLimit


def lookup_limit(at_once: int, refused: Counter) -> QueueingLimit:
    """Return a limit on concurrent look-ups, for which 64 more may wait a second. Refusals increment ``refused``."""
    detail = "Too many credentials are being looked up; retry in 1 s."
    return QueueingLimit(at_once, at_once + 64, 1.0, refused, detail)
