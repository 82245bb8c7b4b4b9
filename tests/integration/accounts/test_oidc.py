"""Sign-in through a real identity provider: accounts, roles, second factors, replays, and disabled passwords."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import create_engine, text

from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import changed, in_process
from tests.harness.oidc import OidcProvider, sign_in

pytestmark = pytest.mark.anyio


class Browser:
    """A browser, with cookies of the service and of the provider."""

    def __init__(self, service: httpx.AsyncClient, provider: httpx.AsyncClient) -> None:
        self.service = service
        self.provider = provider

    async def begin(self) -> str:
        """Begin a sign-in at the service; return the provider's URL."""
        answer = await self.service.get("/oidc/login")
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    async def back(self, sub: str, **claims: object) -> str:
        """Sign in at the provider; return the path and query to which it redirects the browser."""
        back = urlsplit(await sign_in(self.provider, await self.begin(), sub, **claims))
        return f"{back.path}?{back.query}"

    async def sign_in(self, sub: str, **claims: object) -> httpx.Response:
        """Forget the session at the provider, and sign in; return the answer of the service's callback."""
        self.provider.cookies.clear()
        return await self.service.get(await self.back(sub, **claims))

    async def me(self, session: httpx.Response) -> dict[str, object]:
        """Return the account of the session that a sign-in has opened."""
        assert session.status_code == 200, session.text
        headers = {"Authorization": f"Bearer {session.json()['access_token']}"}
        account: dict[str, object] = (await self.service.get("/me", headers=headers)).json()
        return account


def new_subject() -> str:
    """Return an unused subject, which is the provider's id of a user."""
    return secrets.token_hex(8)


@pytest.fixture
def settings(settings: Settings, identity_provider: OidcProvider, request: pytest.FixtureRequest) -> Settings:
    """Return settings that use the provider, with the test's own changes."""
    return changed(settings, **identity_provider.settings, **getattr(request, "param", {}))


@pytest.fixture
async def browser(client: httpx.AsyncClient) -> AsyncIterator[Browser]:
    """Return a browser without cookies."""
    async with httpx.AsyncClient() as provider:
        yield Browser(client, provider)


async def test_the_first_sign_in_makes_an_account(browser: Browser) -> None:
    """A first sign-in creates an account with a session; the next sign-in of the same subject finds the account."""
    sub, name = new_subject(), new_name()
    first = await browser.sign_in(sub, preferred_username=name, email="ada@example.com")
    assert first.json().keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    account = await browser.me(first)
    assert (account["username"], account["email"], account["role"]) == (name, "ada@example.com", "user")
    refresh = {"refresh_token": first.json()["refresh_token"]}
    assert (await browser.service.post("/token/refresh", json=refresh)).status_code == 200
    again = await browser.sign_in(sub, preferred_username=new_name(), email="other@example.com")
    assert await browser.me(again) == account


async def test_accounts_are_never_linked_by_address_or_name(browser: Browser) -> None:
    """A sign-in with the name and email address of an existing account creates a separate account."""
    name = new_name()
    taken = registration(name)
    assert (await browser.service.post("/register", json=taken)).status_code == 201
    sessions = [await browser.sign_in(new_subject(), preferred_username=name, email=taken["email"]) for _ in range(2)]
    accounts = [await browser.me(session) for session in sessions]
    names = {str(account["username"]) for account in accounts}
    assert len(names | {name}) == 3
    assert all(other.startswith(f"{name}-") for other in names)
    assert (await browser.service.post("/login", json={"username": name, "password": PASSWORD})).status_code == 200


async def test_a_providers_account_has_no_password(browser: Browser) -> None:
    """An account made by a sign-in has no password: it can't log in with one, set one, enrol TOTP or delete itself."""
    session = await browser.sign_in(new_subject(), preferred_username=new_name())
    name = (await browser.me(session))["username"]
    for password in ("!", "", PASSWORD):
        assert (await browser.service.post("/login", json={"username": name, "password": password})).status_code == 401
    headers = {"Authorization": f"Bearer {session.json()['access_token']}"}
    change = {"current_password": "!", "new_password": PASSWORD}
    assert (await browser.service.put("/me/password", json=change, headers=headers)).status_code == 409
    assert (await browser.service.post("/me/totp", json={"password": "!"}, headers=headers)).status_code == 409
    assert (await browser.service.request("DELETE", "/me", json={"password": "!"}, headers=headers)).status_code == 409


async def test_the_request_has_pkce_state_and_nonce(browser: Browser) -> None:
    """Each sign-in has a new state, nonce and PKCE challenge; its cookie is short-lived, HttpOnly and SameSite=Lax."""
    queries = []
    for _ in range(2):
        answer = await browser.service.get("/oidc/login")
        queries.append(parse_qs(urlsplit(answer.headers["Location"]).query))
        cookie = SimpleCookie(answer.headers["Set-Cookie"])["pycalc-sign-in"]
        assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "lax", "600")
        assert answer.headers["Cache-Control"] == "private, no-store"
    assert queries[0]["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert queries[0][name] != queries[1][name]
        assert len(queries[0][name][0]) == 43
        assert cookie.value not in queries[1][name][0]


async def test_a_code_and_its_state_work_once_in_one_browser(browser: Browser) -> None:
    """The provider's redirect works only in the browser that began the sign-in, and only once."""
    back = await browser.back(new_subject())
    cookies = httpx.Cookies(browser.service.cookies)
    browser.service.cookies.clear()
    assert (await browser.service.get(back)).status_code == 401  # this browser has begun no sign-in
    await browser.begin()
    assert (await browser.service.get(back)).status_code == 401  # this browser has begun another one
    browser.service.cookies = httpx.Cookies(cookies)
    assert (await browser.service.get(back)).status_code == 200
    assert not browser.service.cookies  # the cookie is used up
    assert (await browser.service.get(back)).status_code == 401
    browser.service.cookies = cookies
    replayed = await browser.service.get(back)  # the provider refuses the used code
    assert (replayed.status_code, replayed.json()["type"]) == (401, "/docs/problems#unauthorized")


@pytest.mark.parametrize(
    "query", ["", "code=abc", "state=abc", "error=access_denied", "code=abc&state=%C3%A4", "code=&state="]
)
async def test_what_is_no_redirect_of_the_provider_is_unauthorized(browser: Browser, query: str) -> None:
    """A redirect without the code and state of this browser's sign-in gets 401."""
    await browser.begin()
    assert (await browser.service.get(f"/oidc/callback?{query}")).status_code == 401


async def test_a_browser_gets_a_page_that_opens_the_console(browser: Browser) -> None:
    """After a sign-in, a browser gets an uncacheable page with the session, which runs only the service's scripts."""
    back = await browser.back(new_subject())
    page = await browser.service.get(back, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "private, no-store"
    assert "&quot;access_token&quot;" in page.text
    assert (await browser.service.get("/web/signed-in.js")).status_code == 200


@pytest.mark.parametrize("settings", [{"oidc_role_claim": "groups=calc-admins"}], indirect=True)
async def test_the_role_follows_the_claim(browser: Browser) -> None:
    """Each sign-in sets the role by the provider's claim, and is refused if the last admin would lose the role."""
    first, second = new_subject(), new_subject()
    for sub in (first, second):
        assert (await browser.me(await browser.sign_in(sub, groups=["staff", "calc-admins"])))["role"] == "admin"
    assert (await browser.me(await browser.sign_in(second, groups=["staff"])))["role"] == "user"
    last = await browser.sign_in(first, groups=[])
    assert (last.status_code, last.json()["type"]) == (409, "/docs/problems#conflict")
    browser.provider.cookies.clear()
    back = await browser.back(first, groups=[])
    page = await browser.service.get(back, headers={"Accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.headers["Location"]) == (303, "/?error=sign-in-last-admin")


@pytest.mark.parametrize("settings", [{"oidc_factor_claim": "acr=mfa", "admin_totp": "required"}], indirect=True)
async def test_the_provider_proves_a_second_factor(browser: Browser) -> None:
    """A sign-in is accepted only if the provider's claim of a second factor has the required value."""
    sub = new_subject()
    assert (await browser.sign_in(sub)).status_code == 401
    assert (await browser.sign_in(sub, acr="password")).status_code == 401
    assert (await browser.sign_in(sub, acr="mfa")).status_code == 200


async def test_a_disabled_account_does_not_sign_in(browser: Browser, settings: Settings) -> None:
    """An account made by a sign-in through the provider gets no password reset, and is refused while disabled.

    After its deletion, a sign-in creates a new account.
    """
    token = (settings.data_dir / "bootstrap-token").read_text().strip()
    admin = registration(new_name(), role="admin")
    service = browser.service
    assert (await service.post("/register", json=admin, headers={"X-Bootstrap-Token": token})).status_code == 201
    login = await service.post("/login", json={"username": admin["username"], "password": PASSWORD})
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    sub = new_subject()
    account = await browser.me(await browser.sign_in(sub, preferred_username=new_name()))
    path = f"/users/{account['username']}"
    assert (await service.post(f"{path}/password-reset", headers=headers)).status_code == 409
    assert (await service.patch(path, json={"disabled": True}, headers=headers)).status_code == 200
    assert (await browser.sign_in(sub)).status_code == 401
    assert (await service.delete(path, headers=headers)).status_code == 204
    assert (await browser.me(await browser.sign_in(sub)))["id"] != account["id"]


@pytest.mark.parametrize("settings", [{"password_login": False}], indirect=True)
async def test_passwords_can_be_switched_off(browser: Browser) -> None:
    """With passwords switched off, nobody can register or log in, except through the provider."""
    body = registration(new_name())
    assert (await browser.service.post("/register", json=body)).status_code == 403
    credentials = {"username": body["username"], "password": PASSWORD}
    assert (await browser.service.post("/login", json=credentials)).status_code == 403
    assert (await browser.service.post("/login", data=credentials)).status_code == 403
    assert (await browser.sign_in(new_subject())).status_code == 200


async def test_another_issuers_subject_is_another_account(
    browser: Browser, settings: Settings, identity_provider: OidcProvider
) -> None:
    """The same subject of another issuer is another account."""
    sub = new_subject()
    account = await browser.me(await browser.sign_in(sub))
    engine = create_engine(f"sqlite:///{settings.data_dir / 'pycalc.db'}")
    with engine.begin() as connection:
        moved = text("UPDATE identities SET issuer = 'https://another.example' WHERE subject = :sub")
        assert connection.execute(moved, {"sub": sub}).rowcount == 1
    engine.dispose()
    assert (await browser.me(await browser.sign_in(sub)))["id"] != account["id"]


async def test_a_wrong_client_secret_is_the_operators_fault(settings: Settings) -> None:
    """If the client secret is wrong, a sign-in gets 503, and the answer does not contain the secret."""
    wrong = changed(settings, oidc_client_secret="another one")
    async with in_process(wrong) as service, httpx.AsyncClient() as provider:
        answer = await Browser(service, provider).sign_in(new_subject())
    assert answer.status_code == 503
    assert "another" not in answer.text
