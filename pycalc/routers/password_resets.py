"""Resets of forgotten passwords: an admin creates a one-time token, with which the user sets a new password."""

from __future__ import annotations

from fastapi import APIRouter

from pycalc.models.auth import CreatedPasswordReset, PasswordReset
from pycalc.models.times import timestamp
from pycalc.routers.http.deps import AddressDep, CallerDep, ResourcesDep
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.openapi import NO_CONTENT
from pycalc.routers.http.problem_types import responses
from pycalc.routers.users import Username

router = APIRouter(tags=["accounts"], route_class=StrictRoute)


@router.post("/users/{username}/password-reset", status_code=201, responses=responses("not-found", "conflict"))
async def create_password_reset(username: Username, caller: CallerDep, resources: ResourcesDep) -> CreatedPasswordReset:
    """Create a one-time token that sets a new password within an hour (admins only).

    The user's earlier token becomes invalid. The service does not send the token. Give the token to the user in a way
    that proves the user's identity.
    """
    token, expires_ms = await resources.password_resets.create(caller, username)
    # A path, because a link made from the Host field of the request could lead to another site. Browsers send no
    # fragment to any server.
    link = f"/#password-reset={token}"
    return CreatedPasswordReset(token=token, link=link, expires_at=timestamp(expires_ms))


@router.post(
    "/password-reset", **NO_CONTENT, responses=responses("unauthorized", "rate-limited", "overloaded", "unavailable")
)
async def reset_password(reset: PasswordReset, resources: ResourcesDep, address: AddressDep) -> None:
    """Set a new password with the token of a password reset. The token becomes invalid, and all sessions end.

    A wrong token counts as a failed login of the address.
    """
    async with resources.login_limit.attempt(None, address):
        with resources.password_slots.acquire(address):
            await resources.password_resets.use(reset.token, reset.new_password)
