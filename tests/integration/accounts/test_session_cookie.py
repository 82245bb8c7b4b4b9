"""The cookie that holds a browser's refresh token."""

from __future__ import annotations

import asyncio
from http.cookies import Morsel, SimpleCookie

import httpx
import pytest

from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import changed

pytestmark = pytest.mark.anyio

NAME = "__Secure-pycalc-refresh"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": "http://pycalc.test"}
REFRESH = {"cookie": True}
WEEK = 7 * 86_400


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings that allow pages of https://app.example to call the service."""
    return changed(settings, cors_origins=("https://app.example",))


@pytest.fixture
async def name(client: httpx.AsyncClient) -> str:
    """Register an account, and return its name."""
    username = new_name()
    assert (await client.post("/register", json=registration(username))).status_code == 201
    return username


async def signed_in(client: httpx.AsyncClient, name: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Log in as a browser does, and return the answer."""
    login = {"username": name, "password": PASSWORD, "cookie": True}
    return await client.post("/login", json=login, headers=OWN if headers is None else headers)


def cookie_in(answer: httpx.Response) -> Morsel[str]:
    """Return the only cookie that an answer sets."""
    (field,) = answer.headers.get_list("set-cookie")
    return SimpleCookie(field)[NAME]


async def refreshed(client: httpx.AsyncClient, token: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Refresh with a cookie, and return the answer."""
    sent = {**(OWN if headers is None else headers), "Cookie": f"{NAME}={token}"}
    return await client.post("/token/refresh", json=REFRESH, headers=sent)


def bearer(answer: httpx.Response) -> dict[str, str]:
    """Return the Authorization header for requests with the access token from this answer."""
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_the_refresh_token_is_in_the_cookie_alone(client: httpx.AsyncClient, name: str) -> None:
    """Login and refresh put the refresh token only into a cookie: Secure, HttpOnly, SameSite=Strict, for ``/token``."""
    login = await signed_in(client, name)
    first = cookie_in(login)
    second = await refreshed(client, first.value)
    assert second.status_code == 200
    for answer in (login, second):
        cookie = cookie_in(answer)
        assert cookie.value.startswith("pcr_")
        assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "strict")
        assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/token", "", str(WEEK))
        assert set(answer.json()) == {"access_token", "token_type", "expires_in"}
        assert cookie.value not in answer.text
        assert (await client.get("/me", headers=bearer(answer))).status_code == 200
    assert cookie_in(second).value != first.value


async def test_programs_get_no_cookie(client: httpx.AsyncClient, name: str) -> None:
    """If the body of a login has no member ``cookie``, the response has both tokens in its body, and no cookie.

    If the body of a refresh has no member ``cookie``, the browser's cookie is ignored.
    """
    login = {"username": name, "password": PASSWORD}
    for answer in (await client.post("/login", json=login), await client.post("/login", data=login)):
        assert "set-cookie" not in answer.headers
        assert answer.json()["refresh_token"].startswith("pcr_")
    token = cookie_in(await signed_in(client, name)).value
    answer = await client.post("/token/refresh", json={}, headers={**OWN, "Cookie": f"{NAME}={token}"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/refresh_token")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"cookie": True, "refresh_token": "pcr_x"}, "/refresh_token"),
        ({"cookie": False}, "/refresh_token"),
        ({"cookie": "true"}, "/cookie"),
        ({"cookie": 1}, "/cookie"),
    ],
)
async def test_a_refresh_has_one_token(client: httpx.AsyncClient, body: dict[str, object], pointer: str) -> None:
    """A refresh gets 422 with both or neither of ``cookie`` and ``refresh_token``, or if ``cookie`` is no boolean."""
    answer = await client.post("/token/refresh", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_without_a_cookie_nobody_is_signed_in(client: httpx.AsyncClient) -> None:
    """A refresh without the cookie, or with a value that is no token, gets 401."""
    for cookie in ({}, {"Cookie": "other=pcr_x"}, {"Cookie": f"{NAME}="}, {"Cookie": f"{NAME}=pcr_x"}):
        answer = await client.post("/token/refresh", json=REFRESH, headers={**OWN, **cookie})
        assert answer.status_code == 401


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://blog.pycalc.test"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://pycalc.test"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://pycalc.test:8080"},
    {"Origin": "http://pycalc.test.evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_pages_of_others_use_no_cookie(client: httpx.AsyncClient, name: str, headers: dict[str, str]) -> None:
    """A request from outside the service's own pages, even if CORS allows it, can neither use nor get the cookie."""
    token = cookie_in(await signed_in(client, name)).value
    for answer in (await refreshed(client, token, headers), await signed_in(client, name, headers)):
        assert (answer.status_code, answer.json()["type"]) == (403, "/docs/problems#forbidden")
        assert "set-cookie" not in answer.headers
    assert (await refreshed(client, token)).status_code == 200


async def test_a_form_of_another_page_is_not_read(client: httpx.AsyncClient, name: str) -> None:
    """A form or plain text, which a page of any origin can post, can't refresh a session by cookie."""
    headers = {"Cookie": f"{NAME}={cookie_in(await signed_in(client, name)).value}"}
    form = await client.post("/token/refresh", data={"cookie": "true"}, headers=headers)
    assert (form.status_code, form.json()["error"]) == (400, "invalid_request")
    text = {**headers, "Content-Type": "text/plain"}
    assert (await client.post("/token/refresh", content=b'{"cookie": true}', headers=text)).status_code == 415


async def test_old_browsers_and_programs_may_use_the_cookie(client: httpx.AsyncClient, name: str) -> None:
    """A login without Sec-Fetch-Site gets the cookie if its Origin is the service's own or is missing too."""
    for headers in ({"Origin": "http://pycalc.test"}, {}):
        assert (await signed_in(client, name, headers)).status_code == 200


async def test_two_tabs_may_refresh_at_once(client: httpx.AsyncClient, name: str) -> None:
    """If two tabs refresh at once, both get tokens, and either cookie works afterwards."""
    token = cookie_in(await signed_in(client, name)).value
    answers = await asyncio.gather(*(refreshed(client, token) for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]
    for answer in answers:
        assert (await refreshed(client, cookie_in(answer).value)).status_code == 200
        assert (await client.get("/me", headers=bearer(answer))).status_code == 200


async def test_a_stolen_cookie_ends_the_session(client: httpx.AsyncClient, name: str) -> None:
    """Reuse of a replaced refresh token from a cookie ends the session and its access tokens."""
    stolen = cookie_in(await signed_in(client, name)).value
    second = await refreshed(client, stolen)
    third = await refreshed(client, cookie_in(second).value)
    assert (await refreshed(client, stolen)).status_code == 401
    assert (await client.get("/me", headers=bearer(third))).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/logout", None), ("POST", "/logout-all", None), ("DELETE", "/me", {"password": PASSWORD})],
)
async def test_what_ends_the_session_removes_the_cookie(
    client: httpx.AsyncClient, name: str, method: str, path: str, body: object
) -> None:
    """Logging out or deleting the account removes the cookie, and the refresh token in it is refused."""
    login = await signed_in(client, name)
    answer = await client.request(method, path, headers=bearer(login), json=body)
    assert answer.status_code == 204
    cookie = cookie_in(answer)
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/token")
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "strict")
    assert (await refreshed(client, cookie_in(login).value)).status_code == 401


@pytest.mark.parametrize("headers", FOREIGN[:-1])
async def test_no_page_of_others_makes_logins_fail(
    client: httpx.AsyncClient, name: str, headers: dict[str, str]
) -> None:
    """A login form that a foreign page makes the browser post gets 403, and does not count as a failed login."""
    form = {"username": name, "password": "a wrong password"}
    for _ in range(11):
        answer = await client.post("/login", data=form, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "/docs/problems#forbidden")
    assert (await signed_in(client, name)).status_code == 200


@pytest.mark.parametrize("headers", [FOREIGN[-1], OWN, {"Origin": "http://pycalc.test"}, {}])
async def test_known_pages_and_programs_log_in_by_form(
    client: httpx.AsyncClient, name: str, headers: dict[str, str]
) -> None:
    """Pages of origins that CORS allows, the service's own pages and programs may log in by the OAuth2 form."""
    answer = await client.post("/login", data={"username": name, "password": PASSWORD}, headers=headers)
    assert answer.status_code == 200, answer.text
