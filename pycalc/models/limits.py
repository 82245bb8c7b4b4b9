"""The notation of rate limits, such as ``10/minute``, and of quotas, such as ``5GB/day``."""

from __future__ import annotations

import re
from typing import NamedTuple

from limits import RateLimitItem, parse_many

_QUOTA = re.compile(r"([1-9][0-9]{0,8})(s|[kMGT]?B)/(minute|hour|day)")
_UNITS = {"s": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_MOST = 9 * 10**12  # its millionths are stored as an integer of 64 bits
_PERIODS = {"minute": 60, "hour": 3_600, "day": 86_400}


def parse_limits(text: str) -> list[RateLimitItem]:
    """Return limits such as ``100/minute; 1000/day``, shortest window first; raises ValueError with an explanation."""
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
    """Return a limit such as ``10/minute`` or ``100 per 2 hours``; raises ValueError with an explanation."""
    limits = parse_limits(text)
    if len(limits) > 1:
        raise ValueError(f"{text!r} has several limits; give one, such as 10/minute")
    return limits[0]


class UserLimit(NamedTuple):
    """The amount, in seconds of work or in bytes, that a user may use in each window of ``seconds``."""

    amount: int
    seconds: int


def parse_seconds(text: str) -> UserLimit:
    """Return a quota of time such as ``300s/hour``; raises ValueError with an explanation."""
    return _parse_quota(text, ("s",), "300s/hour")


def parse_bytes(text: str) -> UserLimit:
    """Return a quota of bytes such as ``5GB/day``; raises ValueError with an explanation."""
    return _parse_quota(text, ("B", "kB", "MB", "GB", "TB"), "5GB/day")


def _parse_quota(text: str, units: tuple[str, ...], example: str) -> UserLimit:
    found = _QUOTA.fullmatch(text)
    if found is None or found[2] not in units:
        raise ValueError(f"{text!r} is not a quota such as {example}; leave it empty for none")
    amount = int(found[1]) * _UNITS[found[2]]
    if amount > _MOST:
        raise ValueError(f"{text!r} is more than a database can count, {_MOST:,}; leave it empty for none")
    return UserLimit(amount, _PERIODS[found[3]])
