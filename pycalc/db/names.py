"""The search keys of names."""

from __future__ import annotations


def search_key(name: str) -> str:
    """Return a name in lower case, for comparisons. Characters that PostgreSQL rejects become question marks."""
    # These characters are NUL and lone surrogates, which no account's name contains.
    return name.lower().encode(errors="replace").decode().replace("\x00", "?")
