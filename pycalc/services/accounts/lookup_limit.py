"""A limit on look-ups of credentials, so that a flood of invalid credentials can't overload the database."""

from __future__ import annotations

from prometheus_client import Counter

from pycalc.services.limits.concurrency import QueueingLimit

_MAX_WAITING = 64
_WAIT_SECONDS = 1.0


def lookup_limit(at_once: int, refused: Counter) -> QueueingLimit:
    """Return a limit on concurrent look-ups of credentials. A refusal increments ``refused``."""
    detail = "Too many credentials are being looked up; retry in 1 s."
    return QueueingLimit(at_once, at_once + _MAX_WAITING, _WAIT_SECONDS, refused, detail)
