"""Authenticated callers of services, with limits that a test chooses."""

from __future__ import annotations

from pycalc.models.auth import Principal, Role
from pycalc.models.limits import UNLIMITED, UserLimits
from tests.harness.stores import USER_ID


def caller(user_id: bytes = USER_ID, limits: UserLimits = UNLIMITED) -> Principal:
    """Return a user whose token does not expire during a test."""
    return Principal(user_id, "ada", Role.USER, bytes(16), 2e9, limits=limits)
