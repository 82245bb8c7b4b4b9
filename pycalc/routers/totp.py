"""The caller's own second factor."""

from __future__ import annotations

from fastapi import APIRouter

from pycalc.models.auth import Confirmation, Disabling, Enrolment, RecoveryCodes, TotpSecret
from pycalc.routers.http.deps import AddressDep, CallerDep, EnrollingCallerDep, ResourcesDep
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.openapi import NO_CONTENT
from pycalc.routers.http.problem_types import responses

router = APIRouter(tags=["accounts"], route_class=StrictRoute)

_PROBLEMS = ("conflict", "rate-limited", "overloaded")


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
