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
from pycalc.services.accounts.oidc.sign_in import ProviderSignIn
from pycalc.services.accounts.sessions import Tokens

router = APIRouter(tags=["accounts"], route_class=StrictRoute)

_COOKIE_SECONDS = 600  # for the sign-in at the provider
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
    """Return the name of the cookie that ties a sign-in to its browser, and whether the cookie is for https only.

    With https, a prefix of the name prevents other hosts of the domain from setting the cookie.
    """
    secure = sign_in.redirect_url.startswith("https:")
    return ("__Host-pycalc-sign-in" if secure else "pycalc-sign-in"), secure


@router.get("/oidc/login", status_code=303, include_in_schema=False)
async def begin(sign_in: SignInDep, resources: ResourcesDep, address: AddressDep) -> Response:
    """Redirect the browser to the organisation's identity provider, which redirects it back to `/oidc/callback`."""
    with resources.sign_ins.acquire(address):
        url, secret = await sign_in.begin()
    response = RedirectResponse(url, 303)
    name, secure = _cookie(sign_in)
    # SameSite=Lax, because the provider's site sends the browser back.
    response.set_cookie(name, secret, _COOKIE_SECONDS, secure=secure, httponly=True, samesite="lax")
    return response


@router.get("/oidc/callback", include_in_schema=False)
async def finish(
    request: Request,
    sign_in: SignInDep,
    resources: ResourcesDep,
    address: AddressDep,
    device: DeviceDep,
    state: Annotated[str, Query(max_length=200, description="as `/oidc/login` has sent it")] = "",
    code: Annotated[str, Query(max_length=4096, description="the provider's one-time code")] = "",
    error: Annotated[str, Query(max_length=200, description="why the provider refuses, instead of a code")] = "",
) -> Response:
    """Open a session for the user whom the identity provider has signed in. The first sign-in creates an account.

    If this browser has begun the sign-in and the service refuses it, this counts as a failed login of the address. A
    program gets an error response. A browser is redirected to the console, with the kind of failure in the query.
    """
    name, secure = _cookie(sign_in)
    try:
        # Not within the limit on logins, because any page can send a browser here.
        if error:
            raise Unauthorized("The identity provider has refused the sign-in: begin again with GET /oidc/login.")
        attempt = sign_in.resume(request.cookies.get(name), state)
        async with resources.login_limit.attempt(None, address):
            with resources.sign_ins.acquire(address):
                tokens = await sign_in.finish(attempt, code, device)
    except PycalcError as failure:
        if not prefers_html(request.scope):
            raise
        answer = await response_to(request, failure)  # writes the audit entry and the log, as for a program
        kind = _FAILURES.get(answer.status_code, "unavailable")
        return RedirectResponse(f"/?error=sign-in-{kind}", 303, {"Vary": "Accept"})
    response = _answer(request, tokens)
    response.delete_cookie(name, secure=secure, httponly=True, samesite="lax")
    return response


def _answer(request: Request, tokens: Tokens) -> Response:
    """Return the session as JSON or, for a browser, as a page, with the refresh token in the cookie."""
    if not prefers_html(request.scope):
        return JSONResponse(session_of(tokens).model_dump())
    policy = {"Content-Security-Policy": PAGE_POLICY.format(styles=""), "Vary": "Accept"}
    response = Response(headers=policy, media_type="text/html")
    session = session_of(tokens, response)
    response.body = response.render(_PAGE.format(session=escape(session.model_dump_json(exclude_none=True))))
    response.headers["Content-Length"] = str(len(response.body))
    return response
