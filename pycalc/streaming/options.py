"""Options in a stream's URL."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl


def options_of(query: str, known: Collection[str]) -> dict[str, str]:
    """Return a query's options; raises ValueError for one that is unknown, empty or given twice."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"there is no option {name!r}; known: {', '.join(sorted(known))}")
        if name in options or not value:
            raise ValueError(f"the option {name!r} needs one value")
        options[name] = value
    return options


def flag(value: str) -> bool:
    """Return what ``true`` or ``false`` says; raises ValueError for anything else."""
    if value not in ("true", "false"):
        raise ValueError(f"{value!r} is neither 'true' nor 'false'")
    return value == "true"


def count(value: str) -> int:
    """Return a number of things, 1 to 10,000; raises ValueError for anything else."""
    if not value.isdecimal() or not 1 <= int(value) <= 10_000:
        raise ValueError(f"{value!r} is not a number from 1 to 10000")
    return int(value)
