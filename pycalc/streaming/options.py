"""The options in a stream's URL."""

from __future__ import annotations


def flag(value: str) -> bool:
    """Return the bool that ``true`` or ``false`` stands for; raises ValueError for other text."""
    if value not in ("true", "false"):
        raise ValueError(f"{value!r} is neither 'true' nor 'false'")
    return value == "true"


def count(value: str) -> int:
    """Return a whole number from 1 to 10,000; raises ValueError for other text."""
    if not value.isdecimal() or not 1 <= int(value) <= 10_000:
        raise ValueError(f"{value!r} is not a number from 1 to 10000")
    return int(value)
