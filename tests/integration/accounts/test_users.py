"""Administration of accounts over HTTP: changes apply at once, and one admin always stays."""

from __future__ import annotations

import httpx
import pytest

from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import Headers, bearer_of, new_user

pytestmark = pytest.mark.anyio


async def test_accounts_are_listed_by_name_in_pages(client: httpx.AsyncClient, admin: Headers) -> None:
    """Pages list every account once, sorted by name, with its disabled state and without a hash or secret."""
    names = sorted([(await new_user(client))[0] for _ in range(4)] + ["root"])
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 2}
    while True:
        page = (await client.get("/users", headers=admin, params=query)).json()
        members = {"id", "username", "email", "role", "totp", "created_at", "disabled", "quota"}
        assert all(set(item) == members | {"last_sign_in_at", "today"} for item in page["items"])
        seen += [item["username"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == names


async def test_a_promotion_and_a_demotion_hold_at_once(client: httpx.AsyncClient, admin: Headers) -> None:
    """A new role applies to the next request with the same token."""
    name, headers = await new_user(client)
    assert (await client.get("/users", headers=headers)).status_code == 403
    changed = await client.patch(f"/users/{name}", headers=admin, json={"role": "admin"})
    assert (changed.status_code, changed.json()["role"]) == (200, "admin")
    assert (await client.get("/users", headers=headers)).status_code == 200
    assert (await client.get("/secure-history", headers=headers)).json()["role"] == "admin"
    await client.patch(f"/users/{name}", headers=admin, json={"role": "user"})
    assert (await client.get("/users", headers=headers)).status_code == 403
    assert (await client.get("/secure-history", headers=headers)).json()["role"] == "user"


async def test_a_disabled_account_can_do_nothing(client: httpx.AsyncClient, admin: Headers) -> None:
    """A disabled account's sessions, keys and logins are refused at once; once it is enabled, its keys work again."""
    name, headers = await new_user(client)
    key = (await client.post("/me/keys", headers=headers, json={"name": "program"})).json()["key"]
    program = {"Authorization": f"Bearer {key}"}
    assert (await client.get("/me", headers=program)).status_code == 200
    assert (await client.patch(f"/users/{name}", headers=admin, json={"disabled": True})).json()["disabled"] is True
    assert (await client.get("/me", headers=headers)).status_code == 401
    assert (await client.get("/fibonacci/1", headers=program)).status_code == 401
    refused = await client.post("/login", json={"username": name, "password": PASSWORD})
    assert refused.status_code == 401
    assert (await client.patch(f"/users/{name}", headers=admin, json={"disabled": False})).status_code == 200
    assert (await client.get("/me", headers=headers)).status_code == 401
    assert (await client.get("/me", headers=program)).status_code == 200
    assert (await client.get("/me", headers=await bearer_of(client, name))).status_code == 200


@pytest.mark.parametrize("change", [{"role": "user"}, {"disabled": True}])
async def test_the_last_admin_stays(client: httpx.AsyncClient, admin: Headers, change: dict[str, object]) -> None:
    """The last admin can't be demoted, disabled or deleted; one of two admins can be demoted or disabled."""
    assert (await client.patch("/users/root", headers=admin, json=change)).status_code == 409
    assert (await client.delete("/users/root", headers=admin)).status_code == 409
    name, _ = await new_user(client)
    await client.patch(f"/users/{name}", headers=admin, json={"role": "admin"})
    assert (await client.patch("/users/root", headers=admin, json=change)).status_code == 200


async def test_users_change_nobody(client: httpx.AsyncClient, admin: Headers) -> None:
    """A user gets 403 for changing or deleting any account; an admin gets 404 for an unknown account."""
    name, headers = await new_user(client)
    for path in (f"/users/{name}", "/users/root", "/users/nobody"):
        assert (await client.patch(path, headers=headers, json={"role": "admin"})).status_code == 403
        assert (await client.delete(path, headers=headers)).status_code == 403
    assert (await client.patch("/users/nobody", headers=admin, json={"role": "admin"})).status_code == 404
    assert (await client.patch(f"/users/{name}", headers=admin, json={"username": "x"})).status_code == 422


@pytest.mark.parametrize("password", ["password", "PASSWORD", "1qaz2wsx", "iloveyou"])
async def test_common_passwords_are_refused(client: httpx.AsyncClient, password: str) -> None:
    """A registration with a common password gets 422, whatever the letter case."""
    answer = await client.post("/register", json={**registration(new_name()), "password": password})
    assert answer.status_code == 422
    assert [entry["pointer"] for entry in answer.json()["errors"]] == ["/password"]


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("ada.lovelace", 422),
        ("Ada.Lovelace1!", 422),
        ("countess_a", 422),
        ("pycalc2026", 201),
        ("PyCalc123", 422),
        ("fibonacci", 422),
        ("pycalc-fibonacci-ada.lovelace", 422),
        ("countess of lovelace", 201),
    ],
)
async def test_a_password_of_ones_own_name_is_refused(client: httpx.AsyncClient, password: str, status: int) -> None:
    """A password needs at least four characters besides the username, the email address and words such as "pycalc"."""
    body = {"username": "ada.lovelace", "email": "countess_@example.com", "password": password}
    registered = await client.post("/register", json=body)
    assert registered.status_code == status
    await client.post("/register", json={**body, "password": PASSWORD})
    if status == 422:
        assert [entry["pointer"] for entry in registered.json()["errors"]] == ["/password"]
        change = {"current_password": PASSWORD, "new_password": password}
        changed = await client.put("/me/password", headers=await bearer_of(client, "ada.lovelace"), json=change)
        assert [entry["pointer"] for entry in changed.json()["errors"]] == ["/new_password"]


@pytest.mark.parametrize("value", ["no", "false", 0, 1])
async def test_disabling_takes_a_boolean(client: httpx.AsyncClient, admin: Headers, value: object) -> None:
    """A value of ``disabled`` that is not a boolean gets 422, and the account stays enabled."""
    name, headers = await new_user(client)
    assert (await client.patch(f"/users/{name}", headers=admin, json={"disabled": value})).status_code == 422
    assert (await client.get("/fibonacci/10", headers=headers)).status_code == 200
