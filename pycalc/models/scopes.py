"""Scopes, which are the rights of API keys."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class KeyScope(StrEnum):
    """A right of an API key. The account's role decides whose records the right covers."""

    CALCULATE = "calculate"
    HISTORY_READ = "history:read"
    USAGE_READ = "usage:read"
    EVENTS_READ = "events:read"
    ACCOUNT_READ = "account:read"
    ADMIN_READ = "admin:read"


SESSION = "session"  # the right of sessions alone: to change passwords, keys, sessions and accounts
SESSION_RIGHTS = frozenset({*KeyScope, SESSION})


def scopes_text(scopes: Iterable[KeyScope]) -> str:
    """Return the stored text of scopes, such as ``calculate history:read``, in the order of their definition."""
    wanted = set(scopes)
    return " ".join(scope for scope in KeyScope if scope in wanted)


DEFAULT_SCOPES = scopes_text(set(KeyScope) - {KeyScope.ADMIN_READ})
