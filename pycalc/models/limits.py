"""The notation of rate limits, such as ``10/minute``."""

from __future__ import annotations

from limits import RateLimitItem, parse_many


def parse_limits(text: str) -> list[RateLimitItem]:
    """Return limits such as ``100/minute; 1000/day``, shortest window first; raises ValueError with a sentence."""
    try:
        limits = sorted(parse_many(text), key=RateLimitItem.get_expiry)
    except ValueError:
        raise ValueError(f"{text!r} is not a limit such as 10/minute, or several such as 10/minute; 100/day") from None
    if min(limit.amount for limit in limits) < 1:
        raise ValueError(f"{text!r} allows nothing; leave it empty for no limit")
    if len({limit.get_expiry() for limit in limits}) < len(limits):
        raise ValueError(f"{text!r} has two limits for one window; leave one of them out")
    return limits


def parse_limit(text: str) -> RateLimitItem:
    """Return a limit such as ``10/minute`` or ``100 per 2 hours``; raises ValueError with a sentence."""
    limits = parse_limits(text)
    if len(limits) > 1:
        raise ValueError(f"{text!r} has several limits; give one, such as 10/minute")
    return limits[0]
