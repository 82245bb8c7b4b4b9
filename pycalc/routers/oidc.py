"""Sign-in of browsers through the organisation's identity provider (OpenID Connect), not in the OpenAPI document."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from pycalc.errors import NotFound, PycalcError, Unauthorized
from pycalc.routers.auth import session_of
from pycalc.routers.http.deps import AddressDep, DeviceDep, ResourcesDep
from pycalc.routers.http.headers import PAGE_POLICY
from pycalc.routers.http.inputs import StrictRoute
from pycalc.routers.http.negotiation import prefers_html
from pycalc.routers.http.problems import response_to
from pycalc.routers.http.session_cookie import set_cookie
from pycalc.services.accounts.oidc.sign_in import ProviderSignIn

router = APIRouter(tags=["accounts"], route_class=StrictRoute)

# The kinds of failure that the console explains, by the problem's status; all other failures are "unavailable".
_FAILURES = {401: "refused", 403: "refused", 409: "last-admin", 429: "limited"}
# A page without text, whose script stores the session and opens the console.
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>pycalc</title><script type="module" src="/web/signed-in.js"></script></head>
<body data-session="{session}"></body>
</html>
"""


async def _sign_in(resources: ResourcesDep) -> ProviderSignIn:
    if resources.provider_sign_in is None:
        raise NotFound("No identity provider is configured here.")
    return resources.provider_sign_in


SignInDep = Annotated[ProviderSignIn, Depends(_sign_in)]


def _cookie(sign_in: ProviderSignIn) -> tuple[str, bool]:
    """Return the name of the cookie that ties a sign-in to its browser, and whether the cookie is for https only."""
    secure = sign_in.provider.settings.redirect_url.startswith("https:")
    # The prefix prevents other hosts of the domain from setting the cookie (RFC 6265bis §4.1.3).
    return ("__Host-pycalc-sign-in" if secure else "pycalc-sign-in"), secure


@router.get("/oidc/login", status_code=303, include_in_schema=False)
async def begin(sign_in: SignInDep, resources: ResourcesDep, address: AddressDep) -> Response:
    """Redirect the browser to the organisation's identity provider, which redirects it back to `/oidc/callback`."""
    with resources.sign_ins.acquire(address):
        url, secret = await sign_in.begin()
    response = RedirectResponse(url, 303)
    name, secure = _cookie(sign_in)
    # The sign-in at the provider may take 600 s. SameSite=Lax, because the provider's site sends the browser back.
    response.set_cookie(name, secret, 600, secure=secure, httponly=True, samesite="lax")
    return response


@router.get("/oidc/callback", include_in_schema=False)
async def finish(
    request: Request,
    sign_in: SignInDep,
    resources: ResourcesDep,
    device: DeviceDep,
    state: Annotated[str, Query(max_length=200)] = "",  # as ``begin`` has sent it
    code: Annotated[str, Query(max_length=4096)] = "",  # the provider's one-time code
    error: Annotated[str, Query(max_length=200)] = "",  # why the provider refuses, instead of a code
) -> Response:
    """Open a session for the user whom the identity provider has signed in. The first sign-in creates an account.

    A program gets JSON or an error response. A browser gets a page, with the refresh token in the cookie; after a
    failure, it is redirected to the console, with the kind of failure in the query.
    """
    name, secure = _cookie(sign_in)
    try:
        # Not within the limit on logins, because any page can send a browser here.
        if error:
            raise Unauthorized("The identity provider has refused the sign-in: begin again with GET /oidc/login.")
        attempt = sign_in.resume(request.cookies.get(name), state)
        # From here on, a refusal counts as a failed login of the address, because this browser has begun the sign-in.
        async with resources.login_limit.attempt(None, device.address):
            with resources.sign_ins.acquire(device.address):
                tokens = await sign_in.finish(attempt, code, device)
    except PycalcError as failure:
        if not prefers_html(request.scope):
            raise
        answer = await response_to(request, failure)  # writes the audit entry and the log, as for a program
        kind = _FAILURES.get(answer.status_code, "unavailable")
        return RedirectResponse(f"/?error=sign-in-{kind}", 303, {"Vary": "Accept"})
    session = session_of(tokens)
    response: Response = JSONResponse(session.model_dump())
    if prefers_html(request.scope):
        page = _PAGE.format(session=escape(session.model_dump_json(exclude={"refresh_token"})))
        policy = {"Content-Security-Policy": PAGE_POLICY.format(styles=""), "Vary": "Accept"}
        response = Response(page, headers=policy, media_type="text/html")
        set_cookie(response, tokens.refresh)
    response.delete_cookie(name, secure=secure, httponly=True, samesite="lax")
    return response
