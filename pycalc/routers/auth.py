"""Registration, sessions and the caller's own account."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response

from pycalc.models.auth import Account, Credentials, PasswordChange, Refresh, Registration, Session, User
from pycalc.models.ids import text_of_id, unix_ms
from pycalc.models.times import timestamp
from pycalc.observability.requests import context_of
from pycalc.routers.http.deps import (
    BEARER,
    AddressDep,
    CallerDep,
    EnrollingCallerDep,
    EnrollingReadDep,
    OptionalCallerDep,
    ResourcesDep,
)
from pycalc.routers.http.inputs import StrictRoute, oauth2_grant
from pycalc.routers.http.openapi import NO_CONTENT, headers
from pycalc.routers.http.problems import OF_CALLERS, responses
from pycalc.services.accounts.sessions import Tokens

router = APIRouter(tags=["accounts"], route_class=StrictRoute, responses=OF_CALLERS)


def account_of(user: User) -> Account:
    """Return an account as its owner sees it."""
    return Account(
        id=text_of_id(user.id),
        username=user.username,
        email=user.email,
        role=user.role,
        totp=user.totp,
        created_at=timestamp(unix_ms(user.created_at)),
    )


@router.post(
    "/register",
    status_code=201,
    openapi_extra={"security": [{}, {BEARER.scheme_name: []}]},
    responses={
        201: {"headers": headers("Location")},
        **responses("forbidden", "conflict", "payload-too-large", "rate-limited", "overloaded", "unavailable"),
    },
)
async def register(
    registration: Registration,
    response: Response,
    caller: OptionalCallerDep,
    resources: ResourcesDep,
    address: AddressDep,
    x_bootstrap_token: Annotated[
        str | None, Header(max_length=200, description="one-time token that allows the first admin")
    ] = None,
) -> Account:
    """Create an account. `role: "admin"` needs an admin's token, or the bootstrap token for the first one."""
    await resources.registration_limit.admit(address)
    with resources.password_slots.acquire(address):
        user = await resources.accounts.register(registration, caller, x_bootstrap_token)
    response.headers["Location"] = f"/users/{quote(user.username)}"
    return account_of(user)


@router.post(
    "/login",
    responses=responses(
        "unauthorized", "totp-required", "payload-too-large", "rate-limited", "overloaded", "unavailable"
    ),
)
@oauth2_grant("password")
async def log_in(request: Request, credentials: Credentials, resources: ResourcesDep, address: AddressDep) -> Session:
    """Open a session. An account with a second factor needs `totp` too; without it the problem is `totp-required`.

    The OAuth2 password form (RFC 6749 section 4.3.2) is accepted too, with the field `totp` beside its own. It gets
    OAuth2 errors; `totp_required` is that of a missing code.
    """
    context_of(request.scope).tried = credentials.username
    async with resources.login_limit.attempt(credentials.username, address):
        with resources.password_slots.acquire(address):
            tokens = await resources.authenticator.log_in(credentials.username, credentials.password, credentials.totp)
    return session_of(tokens)


def session_of(tokens: Tokens) -> Session:
    """Return a session as its client sees it."""
    return Session(access_token=tokens.access, expires_in=tokens.expires_in, refresh_token=tokens.refresh)


@router.post(
    "/token/refresh", operation_id="refreshToken", responses=responses("payload-too-large", "overloaded", "unavailable")
)
@oauth2_grant("refresh_token")
async def refresh(refresh: Refresh, resources: ResourcesDep, address: AddressDep) -> Session:
    """Exchange a refresh token for new tokens. Each works once; using an old one again ends the session.

    The OAuth2 form (RFC 6749 section 6) is accepted too, and gets OAuth2 errors.
    """
    with resources.lookups.acquire(address):
        return session_of(await resources.authenticator.refresh(refresh.refresh_token))


@router.post("/logout", **NO_CONTENT, responses=responses("forbidden"))
async def log_out(caller: EnrollingCallerDep, resources: ResourcesDep) -> None:
    """End this session: its access and refresh tokens are refused at once."""
    await resources.authenticator.log_out(caller)


@router.post("/logout-all", **NO_CONTENT, responses=responses("forbidden"))
async def log_out_all(caller: CallerDep, resources: ResourcesDep) -> None:
    """End all sessions of the account."""
    await resources.authenticator.log_out_all(caller)


@router.get("/me", operation_id="getAccount")
async def me(caller: EnrollingReadDep, resources: ResourcesDep) -> Account:
    """Return one's own account."""
    return account_of(await resources.accounts.own(caller))


@router.put(
    "/me/password",
    **NO_CONTENT,
    responses=responses("forbidden", "conflict", "payload-too-large", "rate-limited", "overloaded", "unavailable"),
)
async def change_password(
    change: PasswordChange, caller: CallerDep, resources: ResourcesDep, address: AddressDep
) -> None:
    """Set a new password; the account's other sessions end. A wrong current one counts as a failed login."""
    async with resources.login_limit.attempt(caller.username, address):
        with resources.password_slots.acquire(address):
            await resources.accounts.change_password(caller, change.current_password, change.new_password)
