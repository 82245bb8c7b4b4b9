"""Accounts of other users, for admins, and the one-time tokens with which these users set new passwords."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from pycalc.models.auth import (
    Activity,
    CreatedPasswordReset,
    ListedAccount,
    PasswordReset,
    User,
    UserAccount,
    UserChange,
    UserOrder,
    UserPage,
)
from pycalc.models.formats import PageLimit, expected, timestamp
from pycalc.models.json_text import json_number
from pycalc.routers.auth import account_of
from pycalc.routers.http.deps import AddressDep, AdminReadDep, AdminReaderDep, CallerDep, ResourcesDep
from pycalc.routers.http.headers import next_link
from pycalc.routers.http.inputs import StrictQuery, StrictRoute
from pycalc.routers.http.openapi import NO_CONTENT, headers
from pycalc.routers.http.problem_types import responses

Username = Annotated[str, Path(max_length=254)]

router = APIRouter(tags=["accounts"], route_class=StrictRoute)


def _account(user: User) -> UserAccount:
    return UserAccount(**dict(account_of(user)), disabled=user.disabled, quota=user.limits)


class UsersQuery(StrictQuery):
    """The filter, the order, the length and the start of a page of accounts."""

    limit: PageLimit = Field(50, description="accounts in a page")
    cursor: str | None = Field(None, max_length=200, description="`next_cursor` of the page before, in the same order")
    search: str | None = Field(
        None,
        max_length=254,
        description="only accounts whose name or email address begins with this (from the identity provider: the name)",
    )
    sort: Annotated[
        Literal["username", "-username", "created_at", "-created_at", "last_sign_in_at", "-last_sign_in_at"],
        Field(description="the order; `-`: descending"),
        expected("username, created_at or last_sign_in_at, or one of them after a -"),
    ] = "username"


@router.get("/users", responses={200: {"headers": headers("Link")}})
async def list_users(
    request: Request,
    response: Response,
    _: AdminReaderDep,
    resources: ResourcesDep,
    query: Annotated[UsersQuery, Query()],
) -> UserPage:
    """Return the accounts with their last sign-in and today's usage (admins only)."""
    order, descending = UserOrder(query.sort.removeprefix("-")), query.sort.startswith("-")
    listed, following = await resources.account_list.page(
        query.search, order, query.cursor, query.limit, descending=descending
    )
    items = [
        ListedAccount(
            **dict(_account(each.user)),
            last_sign_in_at=timestamp(each.signed_in_ms) if each.signed_in_ms else None,
            today=Activity(
                calculations=each.calculations, digits=json_number(each.digits), compute_ms=each.compute_us / 1000
            ),
        )
        for each in listed
    ]
    response.headers.update(next_link(request.scope, following))
    return UserPage(items=items, next_cursor=following)


@router.get("/users/{username}", responses=responses("not-found"))
async def get_user(username: Username, caller: AdminReadDep, resources: ResourcesDep) -> UserAccount:
    """Return an account (admins only)."""
    return _account(await resources.accounts.named(caller, username))


@router.patch("/users/{username}", responses=responses("not-found", "conflict"))
async def change_user(
    username: Username, change: UserChange, caller: CallerDep, resources: ResourcesDep
) -> UserAccount:
    """Change an account's role or limits, or disable or enable it (admins only). One enabled admin must remain.

    The change holds at once in the process that answers, and within seconds in others.
    """
    return _account(await resources.accounts.change(caller, username, change))


@router.delete("/users/{username}/totp", **NO_CONTENT, responses=responses("not-found", "conflict"))
async def reset_totp(username: Username, caller: CallerDep, resources: ResourcesDep) -> None:
    """Remove another account's second factor and end its sessions (admins only). Verify first who asks for it."""
    await resources.totp.reset(caller, await resources.accounts.named(caller, username))


@router.delete("/users/{username}", **NO_CONTENT, responses=responses("not-found", "conflict"))
async def delete_user(username: Username, caller: CallerDep, resources: ResourcesDep) -> None:
    """Delete an account as `DELETE /me` does (admins only). The last admin can't be deleted."""
    await resources.accounts.delete(caller, username)


@router.delete("/users/{username}/sessions", **NO_CONTENT, responses=responses("not-found"))
async def end_sessions(username: Username, caller: CallerDep, resources: ResourcesDep) -> None:
    """End all sessions of an account (admins only). API keys stay valid."""
    user = await resources.accounts.named(caller, username)
    await resources.authenticator.end_sessions(caller, user)


@router.post("/users/{username}/password-reset", status_code=201, responses=responses("not-found", "conflict"))
async def create_password_reset(username: Username, caller: CallerDep, resources: ResourcesDep) -> CreatedPasswordReset:
    """Create a one-time token that sets a new password within an hour, in place of an earlier one (admins only).

    The service does not send the token: give it to the user in a way that proves the user's identity.
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
    """Set a new password with the token of a password reset, and end all sessions. A wrong token is a failed login."""
    async with resources.login_limit.attempt(None, address):
        with resources.password_slots.acquire(address):
            await resources.password_resets.use(reset.token, reset.new_password)
