"""What the routes share: the resources, and who is calling."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer
from starlette.types import Scope

from pycalc.errors import Unauthorized
from pycalc.models.auth import Principal
from pycalc.resources.wiring import Resources
from pycalc.services.accounts.api_keys import PREFIX as KEY_PREFIX
from pycalc.services.limits.concurrency import Slot

BEARER = OAuth2PasswordBearer(
    tokenUrl="login", auto_error=False, description="An access token from POST /login, as `Authorization: Bearer ...`."
)

ARRIVED = "pycalc.arrived"
"""Where a request's scope holds when it arrived, by ``perf_counter``."""
SLOT = "pycalc.slot"
"""Where a request's scope holds the slot that was taken for it."""


def resources_of(scope: Scope) -> Resources:
    """Return the resources that the application's lifespan opened."""
    resources: Resources = scope["state"]["resources"]
    return resources


def bearer_token(scope: Scope) -> bytes | None:
    """Return the bearer token of a request (RFC 6750 §2.1), None when there is none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else b""
    return None


def forwarded_for(scope: Scope) -> list[bytes]:
    """Return the values of X-Forwarded-For, in their order."""
    return [value for name, value in scope["headers"] if name == b"x-forwarded-for"]


async def caller_of(scope: Scope, resources: Resources) -> Principal:
    """Return the caller of a request; raises Unauthorized, Overloaded."""
    token = bearer_token(scope)
    if not token:
        raise Unauthorized("Send a token: Authorization: Bearer ...")
    caller = resources.authenticator.recognize(token)
    if caller is None:
        # Anybody can invent a key; an access token that is not ours costs no look-up.
        is_key = token.startswith(KEY_PREFIX.encode())
        with resources.lookups.acquire(address_of(scope, resources)) if is_key else nullcontext():
            caller = await resources.authenticator.authenticate(token)
    scope["caller"] = caller  # for the audit log, should this be refused
    return caller


def key_of(scope: Scope, resources: Resources) -> bytes | str:
    """Return whose request it is, for a fair share: the user's id where the token is known, else the address.

    Nothing is proved by it. Another thread than the event loop's may ask.
    """
    user = resources.authenticator.user_of(bearer_token(scope) or b"")
    return address_of(scope, resources) if user is None else user


def release_slot(scope: Scope) -> None:
    """Give back the slot that a calculation's request holds, if it does; others may then begin."""
    slot: Slot | None = scope.get(SLOT)
    if slot is not None:
        slot.release()


def _resources(request: Request) -> Resources:
    return resources_of(request.scope)


ResourcesDep = Annotated[Resources, Depends(_resources)]


async def _caller(request: Request, resources: ResourcesDep, _: Annotated[str | None, Security(BEARER)]) -> Principal:
    return await caller_of(request.scope, resources)


CallerDep = Annotated[Principal, Depends(_caller)]


async def _optional_caller(request: Request, resources: ResourcesDep) -> Principal | None:
    if bearer_token(request.scope) is None:
        return None
    return await caller_of(request.scope, resources)


OptionalCallerDep = Annotated[Principal | None, Depends(_optional_caller)]


def address_of(scope: Scope, resources: Resources) -> str:
    """Return what tells clients apart that have not said who they are."""
    peer = scope.get("client")
    return resources.addresses.client(peer[0] if peer else None, forwarded_for(scope))


def _address(request: Request, resources: ResourcesDep) -> str:
    return address_of(request.scope, resources)


AddressDep = Annotated[str, Depends(_address)]
"""What tells clients apart that have not said who they are."""
