"""FastAPI dependencies that the routes share: the resources, the caller, and the client's address."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import OAuth2PasswordBearer
from starlette.types import Scope

from pycalc.errors import FieldProblem, Forbidden, InvalidInput, NotFound, Unauthorized
from pycalc.models.auth import LONGEST_ADDRESS, LONGEST_CLIENT, SESSION, Device, KeyScope, Principal
from pycalc.models.formats import Uuid
from pycalc.models.ids import id_of_text
from pycalc.observability.requests import context_of, header
from pycalc.resources.wiring import Resources
from pycalc.routers.http.credentials import KEY_PREFIX, token_of
from pycalc.services.accounts.authorization import require_right

# Parts of a User-Agent that nearly all browsers send, and that therefore identify none of them.
_OF_EVERY_BROWSER = re.compile(r"Mozilla/5\.0 |AppleWebKit/\S+ |\(KHTML, like Gecko\) |Gecko/\S+ ")
_UNPRINTABLE = re.compile(r"[^ -~]")
_LONGEST_USER_AGENT = 500  # characters that are read
BEARER = OAuth2PasswordBearer(
    tokenUrl="login", auto_error=False, description="An access token from POST /login, as `Authorization: Bearer ...`."
)


IdInPath = Annotated[Uuid, Path(max_length=64)]


def id_in_path(text: str, what: str) -> bytes:
    """Return the id in a request's path. If it is malformed, raise NotFound: "There is no such ``what``."."""
    try:
        return id_of_text(text)
    except ValueError:
        raise NotFound(f"There is no such {what}.") from None


def resources_of(scope: Scope) -> Resources:
    """Return the resources that the application's lifespan has opened."""
    resources: Resources = scope["state"]["resources"]
    return resources


def route_of(scope: Scope) -> str | None:
    """Return the template of the route that matched, such as ``/fibonacci/{n}``, or None if none has matched yet."""
    return getattr(scope.get("route"), "path_format", None)


async def caller_of(scope: Scope, resources: Resources, right: str | None, *, enrolling: bool = False) -> Principal:
    """Authenticate a request and return the caller, who must have ``right`` unless it is None.

    Raises Unauthorized without a valid token or key, and InvalidInput for two credentials. Raises Forbidden if the
    caller lacks the right, if the key must not be sent in a URL and, without ``enrolling``, for an admin who must enrol
    a second factor. Raises Overloaded if too many keys are being looked up, and StoreUnavailable.
    """
    token = token_of(scope)
    if not token:
        raise Unauthorized("Send a token (Authorization: Bearer ...), or an API key as the password of HTTP Basic.")
    caller = resources.authenticator.token_cache.get(token)
    if caller is None:
        # Every key that is not cached costs a look-up, even an invented one. An invented access token costs none.
        is_key = token.startswith(KEY_PREFIX)
        with resources.lookups.acquire(resources.addresses.of(scope)) if is_key else nullcontext():
            caller = await resources.authenticator.authenticate(token, enrolling=enrolling)
    context = context_of(scope)
    context.caller = caller
    if context.query_key is not None:
        if header(scope, b"authorization") is not None:
            detail = "There are two credentials: leave out key, or the Authorization field."
            raise InvalidInput.of(FieldProblem("/key", detail))
        if not caller.allow_query:
            raise Forbidden(
                "This API key must not be sent in a URL: send it as Authorization: Bearer ..., or create one with "
                "allow_query."
            )
    if right is not None and right not in caller.rights:
        require_right(caller, right)
    if caller.is_key and resources.keys.uses.is_due(caller.credential_id):
        resources.keys.uses.note(caller.credential_id, resources.addresses.of(scope))
    return caller


def key_of(scope: Scope, resources: Resources) -> bytes | str:
    """Return the user's id or the client's address, for which concurrency limits count a request.

    The user is known only if the request's token is in the token cache, even if it has expired there.
    """
    user = resources.authenticator.token_cache.user_of(token_of(scope) or b"")
    return resources.addresses.of(scope) if user is None else user


async def _resources(request: Request) -> Resources:
    return resources_of(request.scope)


ResourcesDep = Annotated[Resources, Depends(_resources)]


@dataclass(frozen=True, eq=False)
class CallerRule:
    """The rule by which a route's caller is authenticated, and the FastAPI dependency that returns this caller."""

    right: str | None  # an argument of ``caller_of``
    enrolling: bool = False  # likewise
    required: bool = True  # false: requests without a token are admitted too
    admin: bool = False  # true: the caller must be an admin according to the store

    async def authenticate(self, scope: Scope) -> None:
        """Authenticate a request's caller, and put the caller into its context. Raises the errors of ``caller_of``."""
        if self.required or token_of(scope) is not None:
            await caller_of(scope, resources_of(scope), self.right, enrolling=self.enrolling)

    async def __call__(self, request: Request, _: Annotated[str | None, Security(BEARER)]) -> Principal | None:
        """Return the caller, whom StrictRoute has authenticated, or None without a token if none is required.

        If ``admin`` is set, raises the errors of ``Accounts.require_admin``.
        """
        caller = context_of(request.scope).caller
        assert caller is not None or not self.required  # noqa: S101  # StrictRoute raises otherwise
        if caller is not None and self.admin:
            await resources_of(request.scope).accounts.require_admin(caller)
        return caller


def caller_rules(dependant: Dependant) -> list[CallerRule]:
    """Return the rules for the callers that a route's parameters need, in the order of the parameters."""
    found = []
    for each in dependant.dependencies:
        if isinstance(each.call, CallerRule):
            found.append(each.call)
        found += caller_rules(each)
    return list(dict.fromkeys(found))


def _key_with(scope: KeyScope, **options: bool) -> Any:
    """Return the dependency for a caller with a session, or with an API key that has ``scope``."""
    return Security(CallerRule(scope, **options), scopes=[scope])  # ``scopes`` is for the OpenAPI document


CallerDep = Annotated[Principal, Security(CallerRule(SESSION))]  # closed to API keys
CalculateDep = Annotated[Principal, _key_with(KeyScope.CALCULATE)]
HistoryReadDep = Annotated[Principal, _key_with(KeyScope.HISTORY_READ)]
UsageReadDep = Annotated[Principal, _key_with(KeyScope.USAGE_READ)]
EventsReadDep = Annotated[Principal, _key_with(KeyScope.EVENTS_READ)]
AccountReadDep = Annotated[Principal, _key_with(KeyScope.ACCOUNT_READ)]
AdminReadDep = Annotated[Principal, _key_with(KeyScope.ADMIN_READ)]
AnyCallerDep = Annotated[Principal, Security(CallerRule(None))]  # open to every API key
OptionalCallerDep = Annotated[Principal | None, Security(CallerRule(None, required=False))]  # open to everybody

# For routes that are open to an admin who must still enrol a second factor.
EnrollingCallerDep = Annotated[Principal, Security(CallerRule(SESSION, enrolling=True))]
EnrollingReadDep = Annotated[Principal, _key_with(KeyScope.ACCOUNT_READ, enrolling=True)]
# For admins: with a session, or for reading also with a key that has admin:read.
AdminDep = Annotated[Principal, Security(CallerRule(SESSION, admin=True))]
AdminReaderDep = Annotated[Principal, _key_with(KeyScope.ADMIN_READ, admin=True)]


async def _address(request: Request, resources: ResourcesDep) -> str:
    return resources.addresses.of(request.scope)


AddressDep = Annotated[str, Depends(_address)]


async def _device(request: Request, address: AddressDep) -> Device:
    """Return the device from which a request comes, for the list of sessions."""
    agent = (header(request.scope, b"user-agent") or b"").decode("latin-1")[:_LONGEST_USER_AGENT]
    client = _OF_EVERY_BROWSER.sub("", _UNPRINTABLE.sub("?", agent))
    return Device(address[:LONGEST_ADDRESS], client[:LONGEST_CLIENT])


DeviceDep = Annotated[Device, Depends(_device)]
