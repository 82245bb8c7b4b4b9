"""Deletion of accounts over HTTP, and the data that stay."""

from __future__ import annotations

from functools import partial

import httpx
import pytest

from pycalc.resources import wiring
from pycalc.resources.wiring import Resources
from pycalc.services.history.retention import Retention
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import changed
from tests.harness.waiting import found

pytestmark = pytest.mark.anyio

Headers = dict[str, str]


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the changes that a test asks for."""
    return changed(settings, **getattr(request, "param", {}))


@pytest.fixture(autouse=True)
def prompt_retention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the erasure of a deleted account's history begin at once, and not after ten seconds."""
    monkeypatch.setattr(wiring, "Retention", partial(Retention, settling_seconds=0.0))


async def new_user(client: httpx.AsyncClient, name: str, **extra: object) -> Headers:
    """Register a user, log in, and return the header of the session."""
    token = str(extra.pop("token", ""))
    made = await client.post("/register", json=registration(name, **extra), headers={"X-Bootstrap-Token": token})
    assert made.status_code == 201, made.text
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


@pytest.fixture
async def admin(client: httpx.AsyncClient, resources: Resources) -> Headers:
    """Register the first admin, "root", and return the header of its session."""
    return await new_user(client, "root", role="admin", token=resources.bootstrap_token)


async def deleted(client: httpx.AsyncClient, headers: Headers, password: str = PASSWORD) -> int:
    """Delete the caller's account, and return the status of the answer."""
    return (await client.request("DELETE", "/me", headers=headers, json={"password": password})).status_code


async def test_an_account_goes_with_its_sessions_and_keys(client: httpx.AsyncClient) -> None:
    """After an account's deletion, its tokens, keys and logins are refused at once, and its name stays reserved."""
    name = new_name()
    headers = await new_user(client, name)
    key = (await client.post("/me/keys", headers=headers, json={"name": "program"})).json()["key"]
    program = {"Authorization": f"Bearer {key}"}
    assert (await client.get("/fibonacci/10", headers=program)).status_code == 200
    assert await deleted(client, headers) == 204
    for credential in (headers, program):
        assert (await client.get("/fibonacci/10", headers=credential)).status_code == 401
    assert (await client.post("/login", json={"username": name, "password": PASSWORD})).status_code == 401
    body = {**registration(name.upper()), "email": f"other-{name}@example.com"}
    assert (await client.post("/register", json=body)).status_code == 409
    await new_user(client, new_name())


@pytest.mark.parametrize("settings", [{"login_limit": "3/minute"}], indirect=True)
async def test_the_password_is_needed(client: httpx.AsyncClient) -> None:
    """A wrong password gets 403 and counts as a failed login; a request without a password gets 422."""
    headers = await new_user(client, new_name())
    assert (await client.delete("/me", headers=headers)).status_code == 422
    statuses = [await deleted(client, headers, "not the password") for _ in range(4)]
    assert statuses == [403, 403, 403, 429]
    assert (await client.get("/me", headers=headers)).status_code == 200


async def test_a_key_deletes_no_account(client: httpx.AsyncClient) -> None:
    """Deleting an account with an API key gets 403, even with the right password."""
    headers = await new_user(client, new_name())
    key = (await client.post("/me/keys", headers=headers, json={"name": "program"})).json()["key"]
    assert await deleted(client, {"Authorization": f"Bearer {key}"}) == 403
    assert (await client.get("/me", headers=headers)).status_code == 200


async def test_the_last_admin_can_not_go(client: httpx.AsyncClient, admin: Headers) -> None:
    """The only admin's deletion gets 409; one of two admins can be deleted."""
    assert await deleted(client, admin) == 409
    assert (await client.get("/users", headers=admin)).status_code == 200
    second = new_name()
    await new_user(client, second)
    await client.patch(f"/users/{second}", headers=admin, json={"role": "admin"})
    assert await deleted(client, admin) == 204


async def _left(client: httpx.AsyncClient, admin: Headers, user_id: str) -> tuple[list[str], int]:
    """Return the usernames in an account's history, and the number of calculations in its usage totals."""
    items = (await client.get("/secure-history", headers=admin, params={"user": user_id})).json()["items"]
    totals = (await client.get("/usage", headers=admin, params={"user": user_id})).json()["items"]
    return [item["user"] for item in items], sum(total["count"] for total in totals)


@pytest.mark.parametrize("how", ["self", "admin"])
@pytest.mark.parametrize(
    "settings", [{"deleted_accounts": each} for each in ("keep", "anonymize", "erase")], indirect=True
)
async def test_the_history_is_kept_anonymous_or_erased(
    client: httpx.AsyncClient, settings: Settings, admin: Headers, how: str
) -> None:
    """Depending on a setting, a deleted account's history is kept, made anonymous or erased; other histories stay."""
    name = new_name()
    headers = await new_user(client, name)
    user_id = (await client.get("/me", headers=headers)).json()["id"]
    for caller in (headers, headers, admin):
        assert (await client.get("/fibonacci/10", headers=caller)).status_code == 200

    async def counted() -> bool | None:
        return await _left(client, admin, user_id) == ([name, name], 2) or None

    await found(counted, "both calculations are counted")
    if how == "self":
        assert await deleted(client, headers) == 204
    else:
        assert (await client.delete(f"/users/{name}", headers=admin)).status_code == 204
    expected = {
        "keep": ([name, name], 2),
        "anonymize": (["(deleted)", "(deleted)"], 2),
        "erase": ([], 0),
    }[settings.deleted_accounts]

    async def left_over() -> bool | None:
        return await _left(client, admin, user_id) == expected or None

    await found(left_over, "the history is as the setting says")
    by_name = (await client.get("/secure-history", headers=admin, params={"user": name})).json()["items"]
    assert len(by_name) == (2 if settings.deleted_accounts == "keep" else 0)
    own = await client.get("/secure-history", headers=admin, params={"user": "root"})
    assert [item["user"] for item in own.json()["items"]] == ["root"]
