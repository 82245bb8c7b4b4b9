"""API keys over HTTP: shown once, accepted like a token, and refused as soon as they are deleted."""

from __future__ import annotations

from time import time
from typing import Any

import httpx
import pytest

from pycalc.resources.wiring import Resources
from pycalc.services.accounts import api_keys
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.in_process import in_process

pytestmark = pytest.mark.anyio

Headers = dict[str, str]


async def logged_in(client: httpx.AsyncClient) -> Headers:
    """Register an account, log in, and return the header of the session."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return bearer(session["access_token"])


def bearer(token: str) -> Headers:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


async def made(client: httpx.AsyncClient, headers: Headers, **extra: object) -> dict[str, Any]:
    """Make a key, and return the body of the answer."""
    answer = await client.post("/me/keys", headers=headers, json={"name": "report", **extra})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def test_a_key_is_shown_once_and_works_like_a_token(client: httpx.AsyncClient) -> None:
    """A key's calculations are recorded for its owner; the list shows prefix and last use, but not the key."""
    session = await logged_in(client)
    key = await made(client, session)
    assert key["key"].startswith(key["prefix"])
    assert len(key["key"]) == 47
    assert key["expires_at"] is None
    (before,) = (await client.get("/me/keys", headers=session)).json()
    assert before["last_used_at"] is None
    calculated = (await client.get("/fibonacci/10", headers=bearer(key["key"]))).json()
    history = (await client.get("/secure-history", headers=session)).json()["items"]
    assert [item["id"] for item in history] == [calculated["id"]]
    answer = await client.get("/me/keys", headers=session)
    (listed,) = answer.json()
    assert listed == {name: value for name, value in key.items() if name != "key"} | {
        "last_used_at": listed["last_used_at"],
        "last_used_from": "127.0.0.1",
    }
    assert listed["last_used_at"] is not None
    assert key["key"] not in answer.text


async def test_a_removed_key_is_refused_at_once(client: httpx.AsyncClient) -> None:
    """A deleted key gets 401 at once, even if it is cached; deleting it again gets 404."""
    session = await logged_in(client)
    key, other = await made(client, session), await made(client, session)
    assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 200
    listed, _ = (await client.get("/me/keys", headers=session)).json()
    assert (await client.get(f"/me/keys/{key['id']}", headers=session)).json() == listed
    assert (await client.delete(f"/me/keys/{key['id']}", headers=session)).status_code == 204
    assert (await client.get(f"/me/keys/{key['id']}", headers=session)).status_code == 404
    assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 401
    assert (await client.get("/me", headers=bearer(other["key"]))).status_code == 200
    assert (await client.delete(f"/me/keys/{key['id']}", headers=session)).status_code == 404


async def test_anothers_key_is_not_there(client: httpx.AsyncClient) -> None:
    """Another user's key is not listed; reading or deleting it gets 404, as for a missing key."""
    owner, other = await logged_in(client), await logged_in(client)
    key = await made(client, owner)
    assert (await client.get("/me/keys", headers=other)).json() == []
    assert (await client.get(f"/me/keys/{key['id']}", headers=other)).status_code == 404
    assert (await client.delete(f"/me/keys/{key['id']}", headers=other)).status_code == 404
    assert (await client.delete("/me/keys/nonsense", headers=other)).status_code == 404
    assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 200


async def test_a_key_does_not_show_another_users_keys(client: httpx.AsyncClient) -> None:
    """A key lists the keys of its owner only."""
    owner, other = await logged_in(client), await logged_in(client)
    key, others = await made(client, owner), await made(client, other)
    listed = (await client.get("/me/keys", headers=bearer(key["key"]))).json()
    assert [each["id"] for each in listed] == [key["id"]]
    assert (await client.get(f"/me/keys/{others['id']}", headers=bearer(key["key"]))).status_code == 404


async def test_the_last_use_outlasts_the_process(settings: Settings) -> None:
    """The last use of a key is stored when the service stops, and is shown after a restart."""
    async with in_process(settings) as client:
        session = await logged_in(client)
        key = await made(client, session)
        assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 200
        (before,) = (await client.get("/me/keys", headers=session)).json()
    async with in_process(settings) as client:
        (after,) = (await client.get("/me/keys", headers=session)).json()
    assert after == before
    assert (after["last_used_from"], after["last_used_at"] is None) == ("127.0.0.1", False)


async def test_a_key_expires(client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired key gets 401, even if it was cached before."""
    session = await logged_in(client)
    key = await made(client, session, expires_in=60)
    assert key["expires_at"] is not None
    assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 200
    now = time() + 60
    monkeypatch.setattr(api_keys, "now_ms", lambda: int(now * 1000))
    monkeypatch.setattr(resources.authenticator.token_cache, "_wall_clock", lambda: now)
    assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 401


async def test_a_key_is_for_programs(client: httpx.AsyncClient) -> None:
    """A key can't manage keys, change the password or end sessions."""
    session = await logged_in(client)
    key = await made(client, session)
    headers = bearer(key["key"])
    requests = [
        client.post("/me/keys", headers=headers, json={"name": "more"}),
        client.delete(f"/me/keys/{key['id']}", headers=headers),
        client.put(
            "/me/password", headers=headers, json={"current_password": PASSWORD, "new_password": "a quite new one"}
        ),
        client.post("/logout", headers=headers),
        client.post("/logout-all", headers=headers),
    ]
    assert [(await request).status_code for request in requests] == [403] * 5
    assert (await client.get("/me", headers=session)).status_code == 200


async def test_an_admins_key_does_not_administer(client: httpx.AsyncClient, resources: Resources) -> None:
    """An admin's key with the default scopes can't manage accounts, but calculates and reads anyone's history."""
    name, other = new_name(), new_name()
    body = registration(name, role="admin")
    token = resources.bootstrap_token or ""
    assert (await client.post("/register", json=body, headers={"X-Bootstrap-Token": token})).status_code == 201
    assert (await client.post("/register", json=registration(other))).status_code == 201
    login = await client.post("/login", json={"username": name, "password": PASSWORD})
    session = bearer(login.json()["access_token"])
    headers = bearer((await made(client, session))["key"])
    requests = [
        client.post("/register", headers=headers, json=registration(new_name(), role="admin")),
        client.get("/users", headers=headers),
        client.patch(f"/users/{other}", headers=headers, json={"role": "admin"}),
        client.delete(f"/users/{other}", headers=headers),
    ]
    assert [(await request).status_code for request in requests] == [403] * 4
    for path in ("/fibonacci/10", f"/secure-history?user={other}", f"/usage?user={other}"):
        assert (await client.get(path, headers=headers)).status_code == 200
    users = (await client.get("/users", headers=session)).json()["items"]
    assert {user["username"]: user["role"] for user in users} == {name: "admin", other: "user"}


async def test_a_key_has_the_scopes_that_were_asked_for(client: httpx.AsyncClient) -> None:
    """Without a list of scopes, a key gets all scopes except ``admin:read``, which is refused to a user's key."""
    session = await logged_in(client)
    usual = ["calculate", "history:read", "usage:read", "events:read", "account:read"]
    assert (await made(client, session))["scopes"] == usual
    assert (await made(client, session, scopes=None))["scopes"] == usual
    assert (await made(client, session, scopes=["usage:read", "calculate"]))["scopes"] == ["calculate", "usage:read"]
    body = {"name": "a", "scopes": ["calculate", "admin:read"]}
    answer = await client.post("/me/keys", headers=session, json=body)
    assert (answer.status_code, "admin:read" in answer.json()["detail"]) == (403, True)
    listed = (await client.get("/me/keys", headers=session)).json()
    assert [key["scopes"] for key in listed] == [usual, usual, ["calculate", "usage:read"]]


async def test_an_admins_key_may_read_the_accounts(client: httpx.AsyncClient, resources: Resources) -> None:
    """An admin's key with ``admin:read`` lists accounts but changes none, and gets 403 once the owner is no admin."""
    name, other = new_name(), new_name()
    token = resources.bootstrap_token or ""
    await client.post("/register", json=registration(name, role="admin"), headers={"X-Bootstrap-Token": token})
    login = await client.post("/login", json={"username": name, "password": PASSWORD})
    session = bearer(login.json()["access_token"])
    await client.post("/register", json=registration(other, role="admin"), headers=session)
    headers = bearer((await made(client, session, scopes=["admin:read"]))["key"])
    users = (await client.get("/users", headers=headers)).json()["items"]
    assert {user["username"] for user in users} == {name, other}
    assert (await client.get(f"/users/{other}", headers=headers)).json()["role"] == "admin"
    refused = [
        await client.patch(f"/users/{other}", headers=headers, json={"role": "user"}),
        await client.delete(f"/users/{other}", headers=headers),
        await client.post("/register", headers=headers, json=registration(new_name(), role="admin")),
        await client.get("/secure-history", headers=headers),
    ]
    assert [answer.status_code for answer in refused] == [403] * 4
    assert (await client.patch(f"/users/{name}", headers=session, json={"role": "user"})).status_code == 200
    assert (await client.get("/users", headers=headers)).status_code == 403


async def test_logging_out_everywhere_leaves_the_keys(client: httpx.AsyncClient) -> None:
    """Ending all sessions leaves API keys valid."""
    session = await logged_in(client)
    key = await made(client, session)
    assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 200
    assert (await client.post("/logout-all", headers=session)).status_code == 204
    assert (await client.get("/me", headers=bearer(key["key"]))).status_code == 200


async def test_keys_are_bounded(client: httpx.AsyncClient) -> None:
    """An account can have 50 keys at most."""
    session = await logged_in(client)
    for _ in range(50):
        await made(client, session)
    answer = await client.post("/me/keys", headers=session, json={"name": "one more"})
    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\r\nb"}, "/name"),
        ({"name": "a", "expires_in": 0}, "/expires_in"),
        ({"name": "a", "key": "mine"}, "/key"),
        ({"name": "a", "scopes": []}, "/scopes"),
        ({"name": "a", "scopes": "calculate"}, "/scopes"),
        ({"name": "a", "scopes": ["calculate", "calculate"]}, "/scopes"),
        ({"name": "a", "scopes": ["session"]}, "/scopes"),
        ({"name": "a", "limits": 5}, "/limits"),
        ({"name": "a", "limits": {"rate_limit": "0"}}, "/limits/rate_limit"),
        ({"name": "a", "limits": {"compute": "5GB/day"}}, "/limits/compute"),
        ({"name": "a", "limits": {"digits": "5s/hour"}}, "/limits/digits"),
        ({"name": "a", "limits": {"history": 5}}, "/limits/history"),
        ({"name": "a", "allow_query": 1, "scopes": ["calculate"]}, "/allow_query"),
        ({"name": "a", "allow_query": True}, "/allow_query"),
        ({"name": "a", "allow_query": True, "scopes": ["calculate", "usage:read"]}, "/allow_query"),
    ],
)
async def test_a_bad_request_makes_no_key(client: httpx.AsyncClient, body: dict[str, object], pointer: str) -> None:
    """Each invalid field gets 422 with a pointer to it, and no key is made."""
    session = await logged_in(client)
    answer = await client.post("/me/keys", headers=session, json=body)
    assert answer.status_code == 422
    assert [entry["pointer"] for entry in answer.json()["errors"]] == [pointer]
    assert (await client.get("/me/keys", headers=session)).json() == []


@pytest.mark.parametrize("key", ["pck_", "pck_" + "A" * 43, "pck_\x7f"])
async def test_what_is_no_key_is_unauthorized(client: httpx.AsyncClient, key: str) -> None:
    """A malformed or invented key gets 401 with WWW-Authenticate."""
    answer = await client.get("/me", headers=bearer(key))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
