"""Registration, login, and the caller's own account with its second factor and its sessions."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response

from pycalc.models.auth import (
    Account,
    AccountDeletion,
    Confirmation,
    Credentials,
    Disabling,
    Enrolment,
    OpenSession,
    PasswordChange,
    RecoveryCodes,
    Refresh,
    Registration,
    Session,
    TotpSecret,
    User,
)
from pycalc.models.formats import timestamp
from pycalc.models.ids import text_of_id, unix_ms
from pycalc.observability.requests import context_of
from pycalc.routers.http.deps import (
    AddressDep,
    CallerDep,
    DeviceDep,
    EnrollingCallerDep,
    EnrollingReadDep,
    IdInPath,
    OptionalCallerDep,
    ResourcesDep,
    id_in_path,
)
from pycalc.routers.http.inputs import StrictRoute, oauth2_grant
from pycalc.routers.http.openapi import NO_CONTENT, headers
from pycalc.routers.http.problem_types import responses
from pycalc.routers.http.session_cookie import clear_cookie, refresh_token_of, require_own_page, set_cookie
from pycalc.services.accounts.sessions import Tokens

_COOKIE: dict[str, Any] = {"headers": headers("Set-Cookie")}
_PROBLEMS = ("conflict", "rate-limited", "overloaded")  # of routes that check a password or a code

router = APIRouter(tags=["accounts"], route_class=StrictRoute)


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
    openapi_extra={"security": [{}]},  # besides the bearer token
    responses={201: {"headers": headers("Location")}, **responses(*_PROBLEMS)},
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
    """Create an account.

    Unless PYCALC_ADMIN_REGISTRATION says otherwise, `role: "admin"` needs an admin's token or the bootstrap token.
    """
    await resources.registration_limit.admit(address)
    with resources.password_slots.acquire(address):
        user = await resources.accounts.register(registration, caller, x_bootstrap_token)
    response.headers["Location"] = f"/users/{quote(user.username)}"
    return account_of(user)


@router.post(
    "/login",
    response_model_exclude_none=True,
    responses={
        200: _COOKIE,
        **responses("unauthorized", "totp-required", "forbidden", "rate-limited", "overloaded", "unavailable"),
    },
)
@oauth2_grant("password")
async def log_in(
    request: Request, response: Response, credentials: Credentials, resources: ResourcesDep, device: DeviceDep
) -> Session:
    """Open a session.

    If only the code of a second factor, `totp`, is missing, the problem's type is `totp-required`. The OAuth2 password
    form (RFC 6749 section 4.3.2), with a further field `totp`, is accepted too and gets OAuth2 errors, such as
    `totp_required`.
    """
    if credentials.cookie:
        require_own_page(request)
    context_of(request.scope).tried = credentials.username
    username, password, code = credentials.username, credentials.password, credentials.totp
    async with resources.login_limit.attempt(username, device.address):
        with resources.password_slots.acquire(device.address):
            tokens = await resources.authenticator.log_in(username, password, code, device)
    return session_of(tokens, response if credentials.cookie else None)


def session_of(tokens: Tokens, cookie_in: Response | None = None) -> Session:
    """Return a session as its client sees it. If ``cookie_in`` is given, put the refresh token only into its cookie."""
    if cookie_in is not None:
        set_cookie(cookie_in, tokens.refresh)
    refresh_token = None if cookie_in else tokens.refresh
    return Session(access_token=tokens.access, expires_in=tokens.expires_in, refresh_token=refresh_token)


@router.post(
    "/token/refresh",
    operation_id="refreshToken",
    response_model_exclude_none=True,
    responses={200: _COOKIE, **responses("unauthorized", "forbidden", "overloaded", "unavailable")},
)
@oauth2_grant("refresh_token")
async def refresh(
    request: Request, response: Response, refresh: Refresh, resources: ResourcesDep, device: DeviceDep
) -> Session:
    """Exchange a refresh token for new tokens.

    A replaced token works for 10 s more, but only until its replacement is used; any later use ends the session. The
    OAuth2 form (RFC 6749 section 6) is accepted too and gets OAuth2 errors.
    """
    token = refresh_token_of(request) if refresh.refresh_token is None else refresh.refresh_token
    with resources.lookups.acquire(device.address):
        tokens = await resources.authenticator.refresh(token, device)
    return session_of(tokens, response if refresh.cookie else None)


@router.post("/logout", **NO_CONTENT, responses={204: _COOKIE})
async def log_out(response: Response, caller: EnrollingCallerDep, resources: ResourcesDep) -> None:
    """End this session. Its tokens are refused at once by the process that answers, and within seconds by others."""
    await resources.authenticator.log_out(caller)
    clear_cookie(response)


@router.post("/logout-all", **NO_CONTENT, responses={204: _COOKIE})
async def log_out_all(response: Response, caller: CallerDep, resources: ResourcesDep) -> None:
    """End all sessions of the account."""
    await resources.authenticator.log_out_all(caller)
    clear_cookie(response)


@router.get("/me", operation_id="getAccount")
async def me(caller: EnrollingReadDep, resources: ResourcesDep) -> Account:
    """Return one's own account."""
    return account_of(await resources.accounts.own(caller))


@router.delete("/me", **NO_CONTENT, responses={204: _COOKIE, **responses(*_PROBLEMS)})
async def delete_account(
    deletion: AccountDeletion, response: Response, caller: CallerDep, resources: ResourcesDep, address: AddressDep
) -> None:
    """Delete one's own account with its sessions and keys. The last admin can't be deleted.

    The name stays reserved for the time of PYCALC_HISTORY_RETENTION. PYCALC_DELETED_ACCOUNTS determines what becomes of
    the account's calculations and totals. A wrong password counts as a failed login.
    """
    async with resources.login_limit.attempt(caller.username, address):
        with resources.password_slots.acquire(address):
            await resources.accounts.delete_own(caller, deletion.password)
    clear_cookie(response)


@router.put("/me/password", **NO_CONTENT, responses=responses(*_PROBLEMS))
async def change_password(
    change: PasswordChange, caller: CallerDep, resources: ResourcesDep, address: AddressDep
) -> None:
    """Set a new password and end the account's other sessions. A wrong current password counts as a failed login."""
    async with resources.login_limit.attempt(caller.username, address):
        with resources.password_slots.acquire(address):
            await resources.accounts.change_password(caller, change.current_password, change.new_password)


@router.post("/me/totp", status_code=201, operation_id="enrolTotp", responses=responses(*_PROBLEMS))
async def enrol(
    enrolment: Enrolment, caller: EnrollingCallerDep, resources: ResourcesDep, address: AddressDep
) -> TotpSecret:
    """Create a secret for an authenticator app, shown only in this response. Logins need no code until `confirm`.

    A wrong password counts as a failed login. Enrolling again before the confirmation creates another secret.
    """
    async with resources.login_limit.attempt(caller.username, address):
        with resources.password_slots.acquire(address):
            secret, uri = await resources.totp.enrol(caller, enrolment.password)
    return TotpSecret(secret=secret, uri=uri)


@router.post("/me/totp/confirm", operation_id="confirmTotp", responses=responses(*_PROBLEMS))
async def confirm(
    confirmation: Confirmation, caller: EnrollingCallerDep, resources: ResourcesDep, address: AddressDep
) -> RecoveryCodes:
    """Turn the second factor on with a first code, and end the account's other sessions.

    Returns ten recovery codes, shown only in this response. A wrong code counts as a failed login.
    """
    async with resources.login_limit.attempt(caller.username, address):
        return RecoveryCodes(recovery_codes=await resources.totp.confirm(caller, confirmation.totp))


@router.post("/me/totp/disable", **NO_CONTENT, operation_id="disableTotp", responses=responses(*_PROBLEMS, "not-found"))
async def disable(disabling: Disabling, caller: CallerDep, resources: ResourcesDep, address: AddressDep) -> None:
    """Turn the second factor off with the password and a code or recovery code, and end the account's other sessions.

    A wrong password or code counts as a failed login.
    """
    async with resources.login_limit.attempt(caller.username, address):
        with resources.password_slots.acquire(address):
            await resources.totp.disable(caller, disabling.password, disabling.totp)


@router.get("/me/sessions")
async def list_sessions(caller: CallerDep, resources: ResourcesDep) -> list[OpenSession]:
    """Return one's own open sessions, at most 100, the most recently used first."""
    return [
        OpenSession(
            id=text_of_id(session.id),
            opened_at=timestamp(session.created_ms),
            last_used_at=timestamp(session.used_ms),
            address=session.device and session.device.address,
            client=(session.device and session.device.client) or None,
            current=session.id == caller.credential_id,
        )
        for session in await resources.authenticator.sessions_of(caller)
    ]


@router.delete("/me/sessions/{session_id}", **NO_CONTENT, responses=responses("not-found"))
async def end_session(caller: CallerDep, session_id: IdInPath, resources: ResourcesDep) -> None:
    """End a session of one's own, as `POST /logout` ends the current one."""
    await resources.authenticator.end_session(caller, id_in_path(session_id, "session"))
