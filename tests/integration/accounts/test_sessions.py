"""Sessions over HTTP: refresh, logout, and immediate refusal of all tokens of an ended session."""

from __future__ import annotations

import httpx
import pytest

from tests.harness.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio

NEW_PASSWORD = "a quite different password"


async def session_of(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> dict[str, str]:
    """Log in, and return the session's tokens."""
    answer = await client.post("/login", json={"username": name, "password": password})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


@pytest.fixture
async def name(client: httpx.AsyncClient) -> str:
    """Register an account, and return its name."""
    username = new_name()
    assert (await client.post("/register", json=registration(username))).status_code == 201
    return username


async def status(client: httpx.AsyncClient, session: dict[str, str]) -> int:
    """Return the status of a calculation with a session's access token."""
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    return (await client.get("/fibonacci/10", headers=headers)).status_code


async def refreshed(client: httpx.AsyncClient, session: dict[str, str]) -> httpx.Response:
    """Refresh a session, and return the answer."""
    return await client.post("/token/refresh", json={"refresh_token": session["refresh_token"]})


async def call(client: httpx.AsyncClient, method: str, path: str, session: dict[str, str], **body: object) -> int:
    """Send a request with a session's access token, and return the status."""
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    return (await client.request(method, path, headers=headers, json=body or None)).status_code


async def test_a_refresh_gives_new_tokens(client: httpx.AsyncClient, name: str) -> None:
    """A refresh returns two new working tokens, and the response may not be stored (RFC 6749 §5.1)."""
    first = await session_of(client, name)
    answer = await refreshed(client, first)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-store"
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["token_type"] == "bearer"
    assert second["expires_in"] == 900
    assert await status(client, second) == 200
    assert (await refreshed(client, second)).status_code == 200


async def test_reuse_ends_the_session_and_its_access_tokens(client: httpx.AsyncClient, name: str) -> None:
    """Reuse of a replaced refresh token ends the session and its access tokens at once."""
    stolen = await session_of(client, name)
    second = (await refreshed(client, stolen)).json()
    third = (await refreshed(client, second)).json()
    assert await status(client, third) == 200
    refusal = await refreshed(client, stolen)
    assert refusal.status_code == 401
    assert refusal.headers["WWW-Authenticate"].startswith("Bearer")
    assert await status(client, third) == 401
    assert (await refreshed(client, third)).status_code == 401


@pytest.mark.parametrize(
    "token", ["", "pcr_", "pcr_AAAA", "eyJhbGciOiJub25lIn0.e30.", "pcr_" + "A" * 64, "pcr_" + "\u00e9" * 64]
)
async def test_what_is_no_refresh_token_is_unauthorized(client: httpx.AsyncClient, token: str) -> None:
    """Malformed, foreign and invented refresh tokens get 401."""
    assert (await refreshed(client, {"refresh_token": token})).status_code == 401


async def test_an_access_token_refreshes_nothing_and_the_other_way_round(client: httpx.AsyncClient, name: str) -> None:
    """An access token can't refresh, and a refresh token can't authenticate."""
    session = await session_of(client, name)
    header = session["access_token"][:100]  # a whole token is too long for the field
    assert (await refreshed(client, {"refresh_token": header})).status_code == 401
    assert await status(client, {"access_token": session["refresh_token"]}) == 401


async def test_logout_ends_this_session_alone(client: httpx.AsyncClient, name: str) -> None:
    """Logout ends both tokens of its session; another session of the user still works."""
    here, there = await session_of(client, name), await session_of(client, name)
    assert await status(client, here) == 200
    assert await call(client, "POST", "/logout", here) == 204
    assert await status(client, here) == 401
    assert (await refreshed(client, here)).status_code == 401
    assert await status(client, there) == 200


async def test_logout_all_ends_every_session(client: httpx.AsyncClient, name: str) -> None:
    """Logging out everywhere ends all sessions of the user, and no others."""
    other = new_name()
    await client.post("/register", json=registration(other))
    here, there, others = (
        await session_of(client, name),
        await session_of(client, name),
        await session_of(client, other),
    )
    assert [await status(client, each) for each in (here, there, others)] == [200, 200, 200]
    assert await call(client, "POST", "/logout-all", here) == 204
    assert [await status(client, each) for each in (here, there, others)] == [401, 401, 200]


async def test_a_new_password_ends_the_other_sessions(client: httpx.AsyncClient, name: str) -> None:
    """A password change ends all other sessions of the user, but not the session that sent it."""
    here, there = await session_of(client, name), await session_of(client, name)
    assert [await status(client, each) for each in (here, there)] == [200, 200]
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert await call(client, "PUT", "/me/password", here, **change) == 204
    assert [await status(client, each) for each in (here, there)] == [200, 401]
    refused = await client.post("/login", json={"username": name, "password": PASSWORD})
    assert refused.status_code == 401
    assert await status(client, await session_of(client, name, NEW_PASSWORD)) == 200


async def test_a_password_is_changed_by_who_knows_it(client: httpx.AsyncClient, name: str) -> None:
    """A password change needs the current password, and the new one must obey the registration's rules."""
    session = await session_of(client, name)
    wrong = {"current_password": "wrong password", "new_password": NEW_PASSWORD}
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    refused = await client.put("/me/password", json=wrong, headers=headers)
    assert (refused.status_code, refused.json()["detail"]) == (403, "The current password is wrong.")
    short = {"current_password": PASSWORD, "new_password": "short"}
    assert await call(client, "PUT", "/me/password", session, **short) == 422
    assert await status(client, await session_of(client, name)) == 200
