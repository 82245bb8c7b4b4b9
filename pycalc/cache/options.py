"""Options in a cache's URL."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl

from pycalc.urls import split_url


def options_of(url: str, known: Collection[str]) -> dict[str, str]:
    """Return a URL's options; raises ValueError for one that is unknown, empty or given twice."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(split_url(url).query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"there is no option {name!r}; known: {', '.join(sorted(known))}")
        if name in options or not value:
            raise ValueError(f"the option {name!r} needs one value")
        options[name] = value
    return options


def whole(options: dict[str, str], name: str, default: int, least: int = 0) -> int:
    """Return the whole number that an option gives; raises ValueError below ``least``, and for anything else."""
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= least):
        raise ValueError(f"{name} must be {least} or more")
    return int(text)
