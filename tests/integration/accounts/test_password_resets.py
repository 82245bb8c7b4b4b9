"""Resets of forgotten passwords over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import Headers, bearer_of, changed

pytestmark = pytest.mark.anyio

NEW_PASSWORD = "a quite different password"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings that allow an address thirty failed logins a minute: ten times an account's three."""
    return changed(settings, login_limit="3/minute")


async def log_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> httpx.Response:
    """Try to log in, and return the answer."""
    return await client.post("/login", json={"username": name, "password": password})


@pytest.fixture
async def name(client: httpx.AsyncClient) -> str:
    """Register an account, and return its name."""
    username = new_name()
    assert (await client.post("/register", json=registration(username))).status_code == 201
    return username


async def reset_of(client: httpx.AsyncClient, admin: Headers, name: str) -> dict[str, Any]:
    """Make a reset of a user's password as the admin, and return the body of the answer."""
    answer = await client.post(f"/users/{name}/password-reset", headers=admin)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def use(client: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD) -> int:
    """Set a password with a reset's token, and return the status."""
    return (await client.post("/password-reset", json={"token": token, "new_password": password})).status_code


async def test_a_forgotten_password_is_replaced_once(client: httpx.AsyncClient, admin: Headers, name: str) -> None:
    """A reset sets the password once and ends all sessions at once; API keys still work."""
    session = await bearer_of(client, name)
    key = (await client.post("/me/keys", headers=session, json={"name": "program"})).json()["key"]
    made = await reset_of(client, admin, name)
    assert set(made) == {"token", "link", "expires_at"}
    assert made["link"] == f"/#password-reset={made['token']}"
    assert (await client.get("/me", headers=session)).status_code == 200
    assert await use(client, made["token"]) == 204
    assert (await client.get("/me", headers=session)).status_code == 401
    assert (await client.get("/me", headers={"Authorization": f"Bearer {key}"})).status_code == 200
    assert (await log_in(client, name)).status_code == 401
    assert (await log_in(client, name, NEW_PASSWORD)).status_code == 200
    assert await use(client, made["token"], "yet another password") == 401
    assert (await log_in(client, name, NEW_PASSWORD)).status_code == 200


async def test_the_newest_reset_counts(client: httpx.AsyncClient, admin: Headers, name: str) -> None:
    """Making another reset for a user makes the first one invalid."""
    first, second = await reset_of(client, admin, name), await reset_of(client, admin, name)
    assert await use(client, first["token"]) == 401
    assert await use(client, second["token"]) == 204


async def test_a_weak_password_does_not_use_the_token_up(client: httpx.AsyncClient, admin: Headers, name: str) -> None:
    """A weak new password is refused as in a registration; the token still works afterwards."""
    token = (await reset_of(client, admin, name))["token"]
    for weak in ("short", "password", name):
        assert await use(client, token, weak) == 422
    assert await use(client, token) == 204


@pytest.mark.parametrize("token", ["", "pcp_", "pcp_" + "A" * 43, "pcr_" + "A" * 43, "\u00e9" * 47, "\x00"])
async def test_what_is_no_token_is_unauthorized(client: httpx.AsyncClient, token: str) -> None:
    """A malformed or invented token gets 401."""
    assert await use(client, token) == 401


async def test_guessing_is_throttled_by_address(client: httpx.AsyncClient, admin: Headers, name: str) -> None:
    """Wrong reset tokens count as failed logins of their address; above the limit, even a valid one gets 429."""
    right = (await reset_of(client, admin, name))["token"]
    statuses = [await use(client, f"pcp_{number:043d}") for number in range(31)]
    assert statuses == [401] * 30 + [429]
    assert await use(client, right) == 429


async def test_an_admin_resets_others_alone(client: httpx.AsyncClient, admin: Headers, name: str) -> None:
    """An admin can't reset their own password, and gets 404 for an unknown user; users and keys can't make resets."""
    assert (await client.post("/users/root/password-reset", headers=admin)).status_code == 403
    assert (await client.post("/users/nobody/password-reset", headers=admin)).status_code == 404
    key = (await client.post("/me/keys", headers=admin, json={"name": "program"})).json()["key"]
    for headers in (await bearer_of(client, name), {"Authorization": f"Bearer {key}"}):
        assert (await client.post(f"/users/{name}/password-reset", headers=headers)).status_code == 403
    assert (await client.post(f"/users/{name}/password-reset")).status_code == 401


async def test_an_admin_ends_a_users_sessions(client: httpx.AsyncClient, admin: Headers, name: str) -> None:
    """An admin ends all sessions of a user at once; password, API keys and the admin's own sessions stay."""
    session = await bearer_of(client, name)
    key = (await client.post("/me/keys", headers=session, json={"name": "program"})).json()["key"]
    assert (await client.delete(f"/users/{name}/sessions", headers=admin)).status_code == 204
    assert (await client.get("/me", headers=session)).status_code == 401
    assert (await client.get("/me", headers={"Authorization": f"Bearer {key}"})).status_code == 200
    assert (await log_in(client, name)).status_code == 200
    assert (await client.get("/me", headers=admin)).status_code == 200
    assert (await client.delete("/users/nobody/sessions", headers=admin)).status_code == 404
