"""The search keys of names."""

from __future__ import annotations


def search_key(name: str) -> str:
    """Return the form of a name by which it is searched for, in which letter case is ignored."""
    # PostgreSQL rejects NUL and lone surrogates, which no account's name contains.
    return name.lower().encode(errors="replace").decode().replace("\x00", "?")
