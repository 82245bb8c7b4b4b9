"""Answers of the service about usage and API keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Total:
    """The totals of the calculations of one operation on a day (UTC); ``compute_ms`` is their computing time."""

    day: date
    operation: str
    count: int
    cached: int
    digits: int
    compute_ms: float


@dataclass(frozen=True, slots=True)
class Quota:
    """The use of a quota within a window of ``window`` seconds."""

    name: str
    limit: float
    used: float
    remaining: float
    window: int
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage totals, the newest day first, and the caller's quotas."""

    totals: list[Total]
    quotas: list[Quota]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; the service states its text, ``key``, only when it creates the key."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    key: str | None = None


def usage_of(report: Mapping[str, Any]) -> Usage:
    """Return usage from its JSON."""
    return Usage(
        [
            Total(
                date.fromisoformat(item["day"]),
                item["operation"],
                item["count"],
                item["cached"],
                int(item["digits"]),
                item["compute_ms"],
            )
            for item in report["items"]
        ],
        [
            Quota(
                quota["name"],
                quota["limit"],
                quota["used"],
                quota["remaining"],
                quota["window"],
                datetime.fromisoformat(quota["resets_at"]),
            )
            for quota in report["quotas"]
        ],
    )


def api_key_of(item: Mapping[str, Any]) -> ApiKey:
    """Return an API key from its JSON."""
    created_at = datetime.fromisoformat(item["created_at"])
    expires_at, last_used_at = _moment(item["expires_at"]), _moment(item["last_used_at"])
    key = item.get("key")
    return ApiKey(item["id"], item["name"], item["prefix"], item["scopes"], created_at, expires_at, last_used_at, key)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
