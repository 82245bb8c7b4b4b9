"""The notation of rate limits, such as ``10/minute``, of quotas, such as ``5GB/day``, and of both in header fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from limits import RateLimitItem, parse_many
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, WrapValidator

from pycalc.errors import LimitState
from pycalc.models.formats import expected

_QUOTA = re.compile(r"([1-9][0-9]{0,8})(s|[kMGT]?B)/(minute|hour|day)")
_UNITS = {"s": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_MOST = 9 * 10**12  # its millionths are stored as an integer of 64 bits
# Bounds of rate limits: each window has a counter until it ends, and Redis counts and expires in 64-bit integers.
_LONGEST_WINDOW = 366 * 86_400
_MOST_CALCULATIONS = 10**12
_PERIODS = {"minute": 60, "hour": 3_600, "day": 86_400}
_EACH = {60: "a minute", 3_600: "an hour", 86_400: "a day"}
KEY_NAME = "key-"  # begins the names of an API key's own limits
_NONE = "0"  # means "no limit"; a missing value means "the default limit"
_MOST_ROWS = 10**12


def parse_limits(text: str) -> list[RateLimitItem]:
    """Return limits such as ``100/minute; 1000/day``, shortest window first; raises ValueError with an explanation."""
    try:
        limits = sorted(parse_many(text), key=RateLimitItem.get_expiry)
    except ValueError:
        raise ValueError(f"{text!r} is not a limit such as 10/minute, or several such as 10/minute; 100/day") from None
    if max(limit.get_expiry() for limit in limits) > _LONGEST_WINDOW:
        raise ValueError(f"{text!r} is not a limit: its window has more than 366 days")
    if max(limit.amount for limit in limits) > _MOST_CALCULATIONS:
        raise ValueError(f"{text!r} allows more than {_MOST_CALCULATIONS:,}; leave it empty for no limit")
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


def each_window(seconds: int) -> str:
    """Return the end of a sentence about a window of this length: "a minute", as in "no more than 10 a minute"."""
    return _EACH.get(seconds) or f"in {seconds:,} seconds"


class UserLimit(NamedTuple):
    """The largest amount, in seconds of computing or in bytes, that a user may use in each window of ``seconds``."""

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


class LimitMembers(NamedTuple):
    """The members of the header fields RateLimit-Policy and RateLimit. Both list the same limits in the same order."""

    policies: Sequence[str]
    left: Sequence[str]


NO_MEMBERS = LimitMembers((), ())


def limit_members(limits: Sequence[LimitState]) -> LimitMembers:
    """Return the members that describe limits (draft-ietf-httpapi-ratelimit-headers)."""
    policies, left = [], []
    for amount, window, remaining, reset, name, unit in limits:
        policies.append(f'"{name}";q={amount};w={window};qu="{unit}"' if unit else f'"{name}";q={amount};w={window}')
        left.append(f'"{name}";r={remaining};t={reset}')
    return LimitMembers(policies, left)


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The limits of a caller. A field that is an empty text or None sets no limit."""

    rate_limit: str = ""  # calculations, such as ``6000/minute; 100000/day``
    compute: UserLimit | None = None  # seconds of computing
    digits: UserLimit | None = None  # bytes of results
    history: int | None = None  # calculations kept
    prefix: str = ""  # begins the names of these limits


UNLIMITED = UserLimits()


def _notation(form: str, parse: Callable[[str], object], *others: str) -> WrapValidator:
    """Return a validator that accepts None, each of ``others``, and texts of this ``form``, which ``parse`` accepts."""
    otherwise = f'"{_NONE}" for no limit, or null for the default' if others else "or null"
    return expected(f"{form}, {otherwise}", accepts=lambda text: text is None or text in others or parse(text))


_RATE = Field(max_length=100, description="calculations", examples=["60/minute; 1000/day"])
_COMPUTE = Field(max_length=32, description="seconds of computing", examples=["300s/hour"])
_DIGITS = Field(max_length=32, description="bytes of results", examples=["5GB/day"])
_RATES = 'limits such as "60/minute; 1000/day"', parse_limits
_TIMES = 'seconds a minute, hour or day, such as "300s/hour"', parse_seconds
_SIZES = 'B, kB, MB, GB or TB a minute, hour or day, such as "5GB/day"', parse_bytes


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def in_place_of(self, limits: UserLimits) -> UserLimits:
        """Return a copy of ``limits`` in which each limit that this object sets is replaced."""
        parsers = {"compute": parse_seconds, "digits": parse_bytes}
        changed = {}
        for name, value in self:
            if value in (_NONE, 0):
                changed[name] = getattr(UNLIMITED, name)
            elif value is not None:
                changed[name] = parsers[name](value) if name in parsers else value
        return replace(limits, **changed)


class OwnLimits(_Limits):
    """The limits of one account or role: null means the default limit, "0" and a history of 0 mean no limit."""

    rate_limit: Annotated[StrictStr | None, _RATE, _notation(*_RATES, _NONE)] = None
    compute: Annotated[StrictStr | None, _COMPUTE, _notation(*_TIMES, _NONE)] = None
    digits: Annotated[StrictStr | None, _DIGITS, _notation(*_SIZES, _NONE)] = None
    history: Annotated[
        StrictInt | None,
        Field(ge=0, le=_MOST_ROWS, description="calculations kept", examples=[100_000]),
        expected(f"a whole number from 1 to {_MOST_ROWS:,}, 0 for no limit, or null for the default"),
    ] = None


class KeyLimits(_Limits):
    """The limits of an API key, within those of its owner; null means no further limit."""

    rate_limit: Annotated[StrictStr | None, _RATE, _notation(*_RATES)] = None
    compute: Annotated[StrictStr | None, _COMPUTE, _notation(*_TIMES)] = None
    digits: Annotated[StrictStr | None, _DIGITS, _notation(*_SIZES)] = None


NO_KEY_LIMITS = KeyLimits()
DEFAULTS = OwnLimits()  # of an account or role without limits of its own
