"""Permissions: a caller's rights and limits, and whose records a caller may see."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from pycalc.db.base import UserStore
from pycalc.errors import Forbidden, InvalidToken, MissingScope
from pycalc.models.auth import LONGEST_USERNAME, SESSION, Principal, Role, User
from pycalc.models.ids import id_of_text, text_of_id
from pycalc.models.limits import DEFAULTS, OwnLimits, UserLimits


class LimitPolicy:
    """The limits of accounts: an account's own limit comes first, then that of its role, then the default (ADR 28)."""

    def __init__(self, defaults: UserLimits, roles: Mapping[Role, OwnLimits]) -> None:
        self._of_role = {role: roles.get(role, DEFAULTS).in_place_of(defaults) for role in Role}

    def of(self, user: User) -> UserLimits:
        """Return the limits that apply to a user."""
        return user.limits.in_place_of(self._of_role[user.role])


def require_right(caller: Principal, right: str) -> None:
    """Raise Forbidden for an API key whose scopes lack ``right``, or for every API key if ``right`` is SESSION."""
    if right in caller.rights:
        return
    if right == SESSION:
        raise Forbidden("An API key can't do this; log in and use the access token.")
    raise MissingScope(f"The API key lacks the scope {right}: use a key that has it, or log in.", right)


async def own_account(users: UserStore, caller: Principal) -> User:
    """Return the caller's account; raises Unauthorized if the account is deleted or disabled."""
    user = await users.by_id(caller.user_id)
    if user is None or user.disabled:
        raise InvalidToken("The account does not exist any more.")
    return user


async def visible_user_ids(users: UserStore, caller: Principal, user: str | None) -> tuple[bytes, ...] | None:
    """Return the ids of the users whose records the caller selects; None means all users.

    ``user`` is the id or the name of an account, even a deleted one, in any letter case. An unknown name selects
    nobody. Without ``user``, an admin selects all users, and any other caller selects only the caller.

    Raises Forbidden if a caller who is not an admin selects another user, or if an admin has lost the role. Raises
    Unauthorized if an admin's account is deleted or disabled.
    """
    if not caller.is_admin:
        if user is not None and user.lower() not in (caller.username.lower(), text_of_id(caller.user_id)):
            raise Forbidden("Only an admin may see another user's records.")
        return (caller.user_id,)
    if (await own_account(users, caller)).role is not Role.ADMIN:
        raise Forbidden("Only an admin may see everyone's records.")
    if user is None:
        return None
    with suppress(ValueError):
        if len(user) > LONGEST_USERNAME:
            return (id_of_text(user),)
    found = await users.id_of(user)
    return () if found is None else (found,)
