"""Whose records a caller may see: their own; an admin everyone's."""

from __future__ import annotations

from contextlib import suppress

from pycalc.db.base import UserStore
from pycalc.errors import Forbidden, InvalidToken
from pycalc.models.auth import LONGEST_USERNAME, Principal, Role
from pycalc.models.ids import id_of_text, text_of_id


async def visible_user_ids(users: UserStore, caller: Principal, user: str | None) -> tuple[bytes, ...] | None:
    """Return the ids of the users whose records are meant, None for everyone's.

    ``user`` is an account's id, or a name, letter case aside: of the account that has it, else of the one that had it
    last and was deleted. That the caller is an admin is asked of the
    store, not of the kept token. Raises Forbidden when a user asks for another's, Unauthorized when the caller is gone.
    """
    if not caller.is_admin:
        if user is not None and user.lower() not in (caller.username.lower(), text_of_id(caller.user_id)):
            raise Forbidden("Only an admin may see another user's records.")
        return (caller.user_id,)
    account = await users.by_id(caller.user_id)
    if account is None or account.disabled:
        raise InvalidToken("The account does not exist any more.")
    if account.role is not Role.ADMIN:
        raise Forbidden("Only an admin may see everyone's records.")
    return None if user is None else await _ids_of(users, user)


async def _ids_of(users: UserStore, user: str) -> tuple[bytes, ...]:
    """Return the ids that a name or an id means: one or none."""
    with suppress(ValueError):
        if len(user) > LONGEST_USERNAME:
            return (id_of_text(user),)
    found = await users.id_of(user)
    return () if found is None else (found,)
