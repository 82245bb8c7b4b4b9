"""Limits of single accounts and of roles, which replace the default ones."""

from __future__ import annotations

import httpx
import pytest

from pycalc.settings import Settings
from tests.harness.in_process import Headers, changed, new_user

pytestmark = pytest.mark.anyio

NONE = {"rate_limit": None, "compute": None, "digits": None, "history": None}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with limits of roles, if the test gives some."""
    return changed(settings, role_quotas=getattr(request, "param", {}))


async def test_an_admin_sets_and_sees_them(client: httpx.AsyncClient, admin: Headers) -> None:
    """An admin sets and reads an account's limits; limits left out of a change stay, and null restores the default."""
    name, _ = await new_user(client)
    path = f"/users/{name}"
    assert (await client.get(path, headers=admin)).json()["quota"] == NONE
    for given, quota in (
        ({"compute": "60s/hour", "history": 500}, {**NONE, "compute": "60s/hour", "history": 500}),
        (
            {"digits": "0", "rate_limit": "5/minute"},
            {"rate_limit": "5/minute", "compute": "60s/hour", "digits": "0", "history": 500},
        ),
        ({"compute": None, "rate_limit": None, "history": 0}, {**NONE, "digits": "0", "history": 0}),
        ({}, {**NONE, "digits": "0", "history": 0}),
    ):
        answer = await client.patch(path, headers=admin, json={"quota": given})
        assert (answer.status_code, answer.json()["quota"]) == (200, quota)
        assert (await client.get(path, headers=admin)).json()["quota"] == quota
    await client.patch(path, headers=admin, json={"disabled": True})
    assert (await client.get(path, headers=admin)).json()["quota"] == {**NONE, "digits": "0", "history": 0}


@pytest.mark.parametrize(
    ("quota", "pointer"),
    [
        ({"rate_limit": ""}, "/quota/rate_limit"),
        ({"rate_limit": "0/minute"}, "/quota/rate_limit"),
        ({"rate_limit": "1/minute; 2/minute"}, "/quota/rate_limit"),
        ({"rate_limit": "1/minute;" + " " * 100}, "/quota/rate_limit"),
        ({"compute": 0}, "/quota/compute"),
        ({"compute": "5GB/day"}, "/quota/compute"),
        ({"digits": "5GB/week"}, "/quota/digits"),
        ({"digits": "10TB/day"}, "/quota/digits"),
        ({"history": "500"}, "/quota/history"),
        ({"history": -1}, "/quota/history"),
        ({"history": True}, "/quota/history"),
        ({"bytes": "5GB/day"}, "/quota/bytes"),
        ([], "/quota"),
        (None, "/quota"),
    ],
)
async def test_another_form_is_refused(client: httpx.AsyncClient, admin: Headers, quota: object, pointer: str) -> None:
    """A malformed limit gets 422 with a pointer to it, and nothing is changed."""
    answer = await client.patch("/users/root", headers=admin, json={"quota": quota})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert answer.json()["errors"][0]["detail"].startswith(f"{pointer.split('/')[-1]} must be ") or "bytes" in pointer
    assert (await client.get("/users/root", headers=admin)).json()["quota"] == NONE


async def test_users_set_none(client: httpx.AsyncClient) -> None:
    """A user gets 403 for setting their own limits, and for ``GET /users/{username}``, which shows limits."""
    name, headers = await new_user(client)
    assert (await client.patch(f"/users/{name}", headers=headers, json={"quota": {"compute": "0"}})).status_code == 403
    assert (await client.get(f"/users/{name}", headers=headers)).status_code == 403


async def test_the_rate_limit_is_in_force_at_once(client: httpx.AsyncClient, admin: Headers) -> None:
    """A new rate limit counts earlier calculations, and applies to this user's sessions and keys; 0 means no limit."""
    (name, headers), (_, other) = await new_user(client), await new_user(client)
    key = (await client.post("/me/keys", headers=headers, json={"name": "program"})).json()["key"]
    program = {"Authorization": f"Bearer {key}"}
    assert (await client.get("/fibonacci/1", headers=headers)).headers["RateLimit-Policy"].startswith('"minute";q=6000')
    assert (await client.get("/fibonacci/1", headers=program)).status_code == 200
    await client.patch(f"/users/{name}", headers=admin, json={"quota": {"rate_limit": "200/minute"}})
    # The first calculation counted 60 more in advance, of which the second one used one.
    answer = await client.get("/fibonacci/1", headers=headers)
    assert answer.headers["RateLimit"].startswith('"minute";r=138;')
    await client.patch(f"/users/{name}", headers=admin, json={"quota": {"rate_limit": "60/minute"}})
    for each in (headers, program):
        answer = await client.get("/fibonacci/1", headers=each)
        assert (answer.status_code, answer.headers["RateLimit-Policy"]) == (429, '"minute";q=60;w=60')
        assert (await client.post("/evaluate", headers=each, json={"expression": "1+1"})).status_code == 429
    assert (await client.get("/fibonacci/1", headers=other)).status_code == 200
    await client.patch(f"/users/{name}", headers=admin, json={"quota": {"rate_limit": "0"}})
    for each in (headers, program):
        answer = await client.get("/fibonacci/1", headers=each)
        assert (answer.status_code, '"minute"' in answer.headers["RateLimit"]) == (200, False)


async def test_the_quotas_are_in_force_at_once(client: httpx.AsyncClient, admin: Headers) -> None:
    """A new quota also counts what the user has used before it was set; a 429 and ``GET /usage`` show the new quota."""
    name, headers = await new_user(client)
    assert (await client.get("/pow/10/1999", headers=headers)).status_code == 200
    await client.patch(f"/users/{name}", headers=admin, json={"quota": {"digits": "3kB/day", "compute": "0"}})
    refused = (await client.get("/pow/10/1999", headers=headers)).json()
    assert (refused["status"], refused["quota"], refused["limit"], refused["used"]) == (429, "digits", 3_000, 2_000)
    (digits,) = (await client.get("/usage", headers=headers)).json()["quotas"]
    assert (digits["name"], digits["limit"], digits["remaining"]) == ("digits", 3_000, 1_000)
    await client.patch(f"/users/{name}", headers=admin, json={"quota": {"digits": None}})
    assert (await client.get("/pow/10/1999", headers=headers)).status_code == 200


@pytest.mark.parametrize("settings", [{"user": {"digits": "3kB/day"}, "admin": {"digits": "0"}}], indirect=True)
async def test_a_role_has_limits(client: httpx.AsyncClient, admin: Headers) -> None:
    """A role's limit replaces the default, and an account's own limit replaces both; a new role applies at once."""
    name, headers = await new_user(client)
    assert (await client.get("/pow/10/3999", headers=admin)).status_code == 200
    assert (await client.get("/pow/10/3999", headers=headers)).status_code == 429
    await client.patch(f"/users/{name}", headers=admin, json={"quota": {"digits": "5kB/day"}})
    assert (await client.get("/pow/10/3999", headers=headers)).status_code == 200
    assert (await client.get("/pow/10/3999", headers=headers)).status_code == 429
    await client.patch(f"/users/{name}", headers=admin, json={"role": "admin"})
    assert (await client.get("/pow/10/3999", headers=headers)).status_code == 429
    await client.patch(f"/users/{name}", headers=admin, json={"quota": {"digits": None}})
    assert (await client.get("/pow/10/3999", headers=headers)).status_code == 200
