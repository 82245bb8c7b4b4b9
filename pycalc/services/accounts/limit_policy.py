"""The limits of each account: its own limit comes first, then the limit of its role, then the default (ADR 28)."""

from __future__ import annotations

from collections.abc import Mapping

from pycalc.models.auth import Role, User
from pycalc.models.limits import DEFAULTS, OwnLimits, UserLimits


class LimitPolicy:
    """The default limits, and the limits of roles that replace defaults."""

    def __init__(self, defaults: UserLimits, roles: Mapping[Role, OwnLimits]) -> None:
        self._of_role = {role: roles.get(role, DEFAULTS).in_place_of(defaults) for role in Role}

    def of(self, user: User) -> UserLimits:
        """Return the limits that apply to a user."""
        return user.limits.in_place_of(self._of_role[user.role])
