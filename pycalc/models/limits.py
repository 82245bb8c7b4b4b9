"""The notation of rate limits, such as ``10/minute``."""

from __future__ import annotations

from limits import RateLimitItem, parse_many


def parse_limit(text: str) -> RateLimitItem:
    """Return a limit such as ``10/minute`` or ``100 per 2 hours``; raises ValueError with a sentence."""
    try:
        (limit,) = parse_many(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a limit such as 10/minute") from None
    if limit.amount < 1:
        raise ValueError(f"{text!r} allows nothing; leave it empty for no limit")
    return limit
