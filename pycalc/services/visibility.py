"""Whose records a caller may see: their own; an admin everyone's."""

from __future__ import annotations

from pycalc.db.base import UserStore
from pycalc.errors import Forbidden, Unauthorized
from pycalc.models.auth import Principal, Role


async def whose(users: UserStore, caller: Principal, user: str | None) -> tuple[bytes, ...] | None:
    """Return the ids of the users whose records are meant, None for everyone's.

    ``user`` is a name, and may be one that was deleted; letter case aside. That the caller is an admin is asked of the
    store, not of the kept token. Raises Forbidden when a user asks for another's, Unauthorized when the caller is gone.
    """
    if not caller.is_admin:
        if user is not None and user.lower() != caller.username.lower():
            raise Forbidden("Only an admin may see another user's records.")
        return (caller.user_id,)
    account = await users.by_id(caller.user_id)
    if account is None or account.disabled:
        raise Unauthorized("The account does not exist any more.")
    if account.role is not Role.ADMIN:
        raise Forbidden("Only an admin may see everyone's records.")
    return None if user is None else await users.ids_of(user)
