"""FastAPI dependencies that the routes share: the resources, the caller, the client's address."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer
from starlette.types import Scope

from pycalc.errors import Unauthorized
from pycalc.models.auth import Principal
from pycalc.observability.requests import context_of
from pycalc.resources.wiring import Resources
from pycalc.services.accounts.api_keys import PREFIX as KEY_PREFIX

BEARER = OAuth2PasswordBearer(
    tokenUrl="login", auto_error=False, description="An access token from POST /login, as `Authorization: Bearer ...`."
)


def resources_of(scope: Scope) -> Resources:
    """Return the resources that the application's lifespan opened."""
    resources: Resources = scope["state"]["resources"]
    return resources


def route_of(scope: Scope) -> str | None:
    """Return the template of the route that a request matched, such as ``/fibonacci/{n}``; None before the match."""
    return getattr(scope.get("route"), "path_format", None)


def bearer_token(scope: Scope) -> bytes | None:
    """Return the bearer token of a request (RFC 6750 §2.1), None when there is no Authorization field.

    Return an empty token for another scheme.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else b""
    return None


async def caller_of(scope: Scope, resources: Resources, *, enrolling: bool = False) -> Principal:
    """Authenticate a request; return the caller.

    Raises Unauthorized, Overloaded or StoreUnavailable, and Forbidden for an admin who must enrol a second factor,
    unless ``enrolling``.
    """
    token = bearer_token(scope)
    if not token:
        raise Unauthorized("Send a token: Authorization: Bearer ...")
    caller = resources.authenticator.token_cache.get(token)
    if caller is None:
        # Each uncached key costs a look-up, even an invented one, so their number is limited. An invented access token
        # costs no look-up.
        is_key = token.startswith(KEY_PREFIX.encode())
        with resources.lookups.acquire(address_of(scope, resources)) if is_key else nullcontext():
            caller = await resources.authenticator.authenticate(token, enrolling=enrolling)
    context_of(scope).caller = caller
    return caller


def key_of(scope: Scope, resources: Resources) -> bytes | str:
    """Return the key under which a request counts in concurrency limits.

    The key is the user's id if the request's token is cached, even an expired one, else the client's address.
    """
    user = resources.authenticator.token_cache.user_of(bearer_token(scope) or b"")
    return address_of(scope, resources) if user is None else user


def _resources(request: Request) -> Resources:
    return resources_of(request.scope)


ResourcesDep = Annotated[Resources, Depends(_resources)]


async def _caller(request: Request, resources: ResourcesDep, _: Annotated[str | None, Security(BEARER)]) -> Principal:
    return await caller_of(request.scope, resources)


CallerDep = Annotated[Principal, Depends(_caller)]


async def _enrolling_caller(
    request: Request, resources: ResourcesDep, _: Annotated[str | None, Security(BEARER)]
) -> Principal:
    return await caller_of(request.scope, resources, enrolling=True)


EnrollingCallerDep = Annotated[Principal, Depends(_enrolling_caller)]  # also an admin who must enrol a second factor


async def _optional_caller(request: Request, resources: ResourcesDep) -> Principal | None:
    if bearer_token(request.scope) is None:
        return None
    return await caller_of(request.scope, resources)


OptionalCallerDep = Annotated[Principal | None, Depends(_optional_caller)]


def address_of(scope: Scope, resources: Resources) -> str:
    """Return the client's address, which is the key of limits for requests without a known user."""
    peer = scope.get("client")
    forwarded_for = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return resources.addresses.client(peer[0] if peer else None, forwarded_for)


def _address(request: Request, resources: ResourcesDep) -> str:
    return address_of(request.scope, resources)


AddressDep = Annotated[str, Depends(_address)]
