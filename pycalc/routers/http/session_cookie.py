"""The cookie with a browser's refresh token. No script can read it, and only /token receives it (ADR 30)."""

from __future__ import annotations

from fastapi import Request, Response

from pycalc.errors import Forbidden, Unauthorized
from pycalc.services.accounts.sessions import LIMITS

NAME = "__Secure-pycalc-refresh"
_PATH = "/token"


def set_cookie(response: Response, refresh_token: str) -> None:
    """Store a refresh token in the browser's cookie for as long as an unused token is valid."""
    seconds = LIMITS.idle_ms // 1000
    response.set_cookie(NAME, refresh_token, seconds, path=_PATH, secure=True, httponly=True, samesite="strict")


def clear_cookie(response: Response) -> None:
    """Delete the browser's cookie with the refresh token."""
    response.delete_cookie(NAME, path=_PATH, secure=True, httponly=True, samesite="strict")


def refresh_token_of(request: Request) -> str:
    """Return the refresh token in a request's cookie.

    Raises Unauthorized without one, and the errors of ``require_own_page``.
    """
    require_own_page(request)
    token = request.cookies.get(NAME)
    if token is None:
        raise Unauthorized("There is no refresh token in a cookie: log in.")
    return token


def require_own_page(request: Request) -> None:
    """Raise Forbidden for a request from a page of another origin.

    The cookie's attribute SameSite is not enough: it admits pages of other hosts of the same domain. Such a page could
    log the browser in to an attacker's account.
    """
    if is_foreign(request):
        allowed = "Only the service's own pages may use the cookie"
        raise Forbidden(f"{allowed}: other pages must send and receive the refresh token as JSON.")


def is_foreign(request: Request) -> bool:
    """Return whether a POST is from a page of another origin.

    Browsers send Sec-Fetch-Site to https and to localhost, and Origin with every POST. Programs send neither.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is not None:
        host = request.headers.get("host", "")  # its scheme is unknown behind a proxy
        site = "same-origin" if origin in (f"http://{host}", f"https://{host}") else "cross-site"
    return site not in (None, "same-origin")
