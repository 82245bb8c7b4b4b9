"""Options in a cache's URL."""

from __future__ import annotations


def whole(options: dict[str, str], name: str, default: int, least: int = 0) -> int:
    """Return the whole number that an option gives; raises ValueError below ``least``, and for anything else."""
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= least):
        raise ValueError(f"{name} must be {least} or more")
    return int(text)
