"""The list of a user's open sessions over HTTP, and ending one of them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.harness.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0"
NOWHERE = "019aab12-7c00-7123-8456-426614174000"


@pytest.fixture
async def name(client: httpx.AsyncClient) -> str:
    """Register an account, and return its name."""
    username = new_name()
    assert (await client.post("/register", json=registration(username))).status_code == 201
    return username


async def opened(client: httpx.AsyncClient, name: str, agent: str = "curl/8.10.1") -> dict[str, str]:
    """Log in with this User-Agent, and return the session's tokens."""
    login = {"username": name, "password": PASSWORD}
    answer = await client.post("/login", json=login, headers={"User-Agent": agent})
    tokens: dict[str, str] = answer.raise_for_status().json()
    return tokens


def bearer(session: dict[str, str]) -> dict[str, str]:
    """Return the header that carries a session's access token."""
    return {"Authorization": f"Bearer {session['access_token']}"}


async def listed(client: httpx.AsyncClient, session: dict[str, str]) -> list[dict[str, Any]]:
    """Return the user's open sessions; the request for them is authenticated by ``session``."""
    answer = await client.get("/me/sessions", headers=bearer(session))
    sessions: list[dict[str, Any]] = answer.raise_for_status().json()
    return sessions


async def test_sessions_are_listed_with_their_devices(client: httpx.AsyncClient, name: str) -> None:
    """Sessions are listed with times, address and client program; the request's own session is marked."""
    desk, phone = await opened(client, name, CHROME), await opened(client, name, FIREFOX)
    sessions = await listed(client, desk)
    assert [each["client"] for each in sessions] == [
        "(Windows NT 10.0; Win64; x64; rv:132.0) Firefox/132.0",
        "(X11; Linux x86_64) Chrome/130.0.0.0 Safari/537.36",
    ]
    assert [each["current"] for each in sessions] == [False, True]
    assert [each["current"] for each in await listed(client, phone)] == [True, False]
    for each in sessions:
        assert set(each) == {"id", "opened_at", "last_used_at", "address", "client", "current"}
        assert (each["address"], each["opened_at"]) == ("127.0.0.1", each["last_used_at"])


async def test_a_refresh_is_the_last_use(client: httpx.AsyncClient, name: str) -> None:
    """A refresh updates a session's last use and client program, and moves the session to the top of the list."""
    old, new = await opened(client, name), await opened(client, name)
    before = await listed(client, new)
    body = {"refresh_token": old["refresh_token"]}
    refreshed = await client.post("/token/refresh", json=body, headers={"User-Agent": "sheet/2"})
    first, second = await listed(client, refreshed.json())
    assert (first["id"], first["opened_at"]) == (before[1]["id"], before[1]["opened_at"])
    assert first["last_used_at"] >= before[0]["last_used_at"]
    assert (first["client"], first["current"]) == ("sheet/2", True)
    assert second == {**before[0], "current": False}


@pytest.mark.parametrize(
    ("agent", "client_name"),
    [
        (b"x" * 2_000, "x" * 100),
        (b"<script>\xff\x01\x1b[31m", "<script>???[31m"),
        (b"", None),
    ],
)
async def test_the_client_is_short_and_printable(
    client: httpx.AsyncClient, name: str, agent: bytes, client_name: str | None
) -> None:
    """A User-Agent is cut to 100 characters, and all but printable ASCII becomes ``?``; an empty one is null."""
    login = {"username": name, "password": PASSWORD}
    answer = await client.post("/login", json=login, headers=[(b"user-agent", agent)])
    (session,) = await listed(client, answer.json())
    assert session["client"] == client_name


async def test_one_session_is_ended_at_once(client: httpx.AsyncClient, name: str) -> None:
    """Both tokens of an ended session are refused at once; other sessions still work."""
    here, there = await opened(client, name), await opened(client, name)
    (theirs,) = [each["id"] for each in await listed(client, here) if not each["current"]]
    assert (await client.get("/fibonacci/10", headers=bearer(there))).status_code == 200
    assert (await client.delete(f"/me/sessions/{theirs}", headers=bearer(here))).status_code == 204
    assert (await client.get("/fibonacci/10", headers=bearer(there))).status_code == 401
    body = {"refresh_token": there["refresh_token"]}
    assert (await client.post("/token/refresh", json=body)).status_code == 401
    assert [each["current"] for each in await listed(client, here)] == [True]
    assert (await client.delete(f"/me/sessions/{theirs}", headers=bearer(here))).status_code == 404


async def test_the_present_session_can_be_ended_too(client: httpx.AsyncClient, name: str) -> None:
    """Ending the session that sends the request is a logout."""
    here = await opened(client, name)
    (own,) = await listed(client, here)
    assert (await client.delete(f"/me/sessions/{own['id']}", headers=bearer(here))).status_code == 204
    assert (await client.get("/me", headers=bearer(here))).status_code == 401


@pytest.mark.parametrize("session_id", [NOWHERE, "nonsense", "0" * 64])
async def test_an_unknown_session_is_not_found(client: httpx.AsyncClient, name: str, session_id: str) -> None:
    """An unknown session id gets 404, whatever its form."""
    here = await opened(client, name)
    assert (await client.delete(f"/me/sessions/{session_id}", headers=bearer(here))).status_code == 404


async def test_a_key_sees_and_ends_no_session(client: httpx.AsyncClient, name: str) -> None:
    """Listing or ending sessions with an API key gets 403."""
    here = await opened(client, name)
    (own,) = await listed(client, here)
    made = await client.post("/me/keys", headers=bearer(here), json={"name": "report"})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    assert (await client.get("/me/sessions", headers=headers)).status_code == 403
    assert (await client.delete(f"/me/sessions/{own['id']}", headers=headers)).status_code == 403
    assert (await client.get("/me", headers=bearer(here))).status_code == 200
