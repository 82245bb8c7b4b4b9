"""The search keys of names."""

from __future__ import annotations


def search_key(name: str) -> str:
    """Return a name without its distinction of letter case, for searching."""
    # PostgreSQL rejects NUL and lone surrogates, which no account's name contains.
    return name.lower().encode(errors="replace").decode().replace("\x00", "?")
