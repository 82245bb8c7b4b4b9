"""The routes of an operator over HTTP: audit log, dead letters, accounts, overview."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pytest

from pycalc import __version__
from tests.harness.accounts import PASSWORD, registration
from tests.harness.in_process import Headers, bearer_of
from tests.harness.waiting import found

pytestmark = pytest.mark.anyio

ROUTES = [
    ("GET", "/admin/audit"),
    ("GET", "/admin/dead-letters"),
    ("POST", "/admin/dead-letters/1/requeue"),
    ("DELETE", "/admin/dead-letters/1"),
    ("GET", "/admin/overview"),
    ("GET", "/users"),
]


@pytest.fixture
async def ada(client: httpx.AsyncClient) -> Headers:
    """Register a user, "Ada", and return the header of her session."""
    await client.post("/register", json=registration("Ada"))
    return await bearer_of(client, "Ada")


async def audit(client: httpx.AsyncClient, headers: Headers, **query: str | int) -> list[dict[str, Any]]:
    """Return the items of a page of the audit log."""
    answer = await client.get("/admin/audit", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def audited(
    client: httpx.AsyncClient, headers: Headers, action: str, number: int = 1, **query: str
) -> list[dict[str, Any]]:
    """Wait until there are ``number`` entries of an action; return them, newest first."""

    async def look() -> list[dict[str, Any]] | None:
        entries = await audit(client, headers, action=action, limit=1000, **query)
        return entries if len(entries) >= number else None

    return await found(look, f"{number} entries of {action}")


def facts(action: str, actor: str | None, subject: str | None, outcome: str = "done", **details: object) -> Any:
    """Return the expected fields of the audit entry for a request of the in-process client."""
    address = "127.0.0.1"
    who = {"actor": actor, "subject": subject, "address": address}
    return {**who, "action": action, "outcome": outcome, "details": details}


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_an_admin_may(
    client: httpx.AsyncClient, admin: Headers, ada: Headers, method: str, path: str
) -> None:
    """Operator routes answer 403 to users, former admins and keys without ``admin:read``; 401 without credentials."""
    key = (await client.post("/me/keys", headers=admin, json={"name": "key"})).json()["key"]
    await client.post("/register", headers=admin, json=registration("second", role="admin"))
    second = await bearer_of(client, "second")
    await client.patch("/users/second", headers=admin, json={"role": "user"})
    for headers in (ada, {"Authorization": f"Bearer {key}"}, second):
        assert (await client.request(method, path, headers=headers)).status_code == 403
    assert (await client.request(method, path)).status_code == 401


async def test_an_admins_key_reads_with_the_scope_and_changes_nothing(
    client: httpx.AsyncClient, admin: Headers
) -> None:
    """An admin's key with ``admin:read`` can use operator routes with GET, but not requeue or discard dead letters."""
    made = await client.post("/me/keys", headers=admin, json={"name": "console", "scopes": ["admin:read"]})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    for method, path in ROUTES:
        status = 200 if method == "GET" else 403
        assert (await client.request(method, path, headers=headers)).status_code == status, path
    exported = await client.get("/admin/audit", headers={**headers, "Accept": "text/csv"})
    assert exported.status_code == 200


async def test_the_audit_log_says_who_did_what_to_whom(client: httpx.AsyncClient, admin: Headers, ada: Headers) -> None:
    """The audit log records changes, sign-ins, new API keys and refusals, each with actor, subject and address."""
    key = (await client.post("/me/keys", headers=ada, json={"name": "key"})).json()
    await client.patch("/users/ada", headers=admin, json={"disabled": True})
    await client.post("/login", json={"username": "Ada", "password": PASSWORD})
    assert (await client.get("/users", headers=ada)).status_code == 401
    await client.delete("/users/ADA", headers=admin)
    for expected in (
        facts("session opened", "root", "root"),
        facts("key created", "Ada", "Ada", key=key["prefix"], scopes=" ".join(key["scopes"]), allow_query=False),
        facts("login refused", None, "Ada", "refused"),
        facts("account changed", "root", "Ada", changed={"disabled": True}),
        facts("account deleted", "root", "Ada", history="anonymize"),
    ):
        actor = {} if expected["actor"] is None else {"actor": expected["actor"]}
        newest, *_ = await audited(client, admin, expected["action"], **actor)
        assert {name: newest[name] for name in expected} == expected
    created = await audited(client, admin, "account created", 2)
    assert [(entry["actor"], entry["subject"]) for entry in created] == [(None, "Ada"), (None, "root")]
    refused, *_ = await audited(client, admin, "request refused", 2)
    assert (refused["actor"], refused["outcome"], refused["details"]["status"]) == (None, "refused", 401)
    assert PASSWORD not in json.dumps(await audit(client, admin, limit=1000))


async def test_the_audit_log_is_read_in_pages_and_as_a_file(client: httpx.AsyncClient, admin: Headers) -> None:
    """The audit log's pages, NDJSON and CSV have the same entries in the same order; formulas in CSV are escaped."""
    for name in ("=1+1", "bob", "carol"):
        await client.post("/login", json={"username": name, "password": "x"})
    whole = await audited(client, admin, "login refused", 3)
    assert [entry["subject"] for entry in whole] == ["carol", "bob", "=1+1"]
    paged: list[dict[str, Any]] = []
    query: dict[str, str | int] = {"action": "login refused", "limit": 2}
    while True:
        page = (await client.get("/admin/audit", headers=admin, params=query)).json()
        paged += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert paged == whole
    exported = await client.get(
        "/admin/audit", headers={**admin, "Accept": "application/x-ndjson"}, params={"action": "login refused"}
    )
    assert [json.loads(line) for line in exported.text.splitlines()] == whole
    exported = await client.get(
        "/admin/audit", headers={**admin, "Accept": "text/csv"}, params={"action": "login refused"}
    )
    assert exported.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(exported.text, newline="")))
    assert [row["subject"] for row in rows] == ["carol", "bob", "'=1+1"]
    assert [row["id"] for row in rows] == [entry["id"] for entry in whole]
    since = {"since": whole[0]["created_at"], "until": "2999-01-01T00:00:00Z", "action": "login refused"}
    assert (await audit(client, admin, **since))[0] == whole[0]
    assert await audit(client, admin, until=whole[-1]["created_at"], action="login refused") == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/admin/audit", {"cursor": "nonsense"}),
        ("/admin/audit", {"since": "yesterday"}),
        ("/admin/audit", {"who": "ada"}),
        ("/admin/dead-letters", {"cursor": "-1"}),
        ("/admin/dead-letters", {"cursor": "9" * 19}),
        ("/users", {"sort": "password_hash"}),
        ("/users", {"cursor": "nonsense"}),
        ("/users", {"cursor": "WyJ1c2VybmFtZSIsIDUsICIwMTlhYWIxMi03YzAwLTcxMjMtODQ1Ni00MjY2MTQxNzQwMDAiXQ"}),
        ("/users", {"cursor": "WyJjcmVhdGVkX2F0IiwgInh4IiwgIjAxOWFhYjEyLTdjMDAtNzEyMy04NDU2LTQyNjYxNDE3NDAwMCJd"}),
    ],
)
async def test_a_bad_query_is_refused(
    client: httpx.AsyncClient, admin: Headers, path: str, query: dict[str, str]
) -> None:
    """A malformed filter, cursor or sort order gets 422 with the parameter's name."""
    answer = await client.get(path, headers=admin, params=query)
    assert answer.status_code == 422
    assert [entry["pointer"] for entry in answer.json()["errors"]] == [f"/{name}" for name in query]


async def test_accounts_are_searched_and_sorted(client: httpx.AsyncClient, admin: Headers, ada: Headers) -> None:
    """The list of accounts shows last sign-in and today's usage; the next page has the same search and order."""
    await client.post("/register", json=registration("Adam"))
    await client.get("/fibonacci/100", headers=ada)

    async def look() -> bool | None:
        page = (await client.get("/users", headers=admin, params={"search": "ada@"})).json()
        return page["items"][0]["today"]["calculations"] or None

    await found(look, "the calculation in the usage of the day")
    query: dict[str, str | int] = {"search": "ADA", "sort": "-last_sign_in_at", "limit": 1}
    first = await client.get("/users", headers=admin, params=query)
    assert 'rel="next"' in first.headers["Link"]
    second = await client.get("/users", headers=admin, params={**query, "cursor": first.json()["next_cursor"]})
    (item,), (other,) = first.json()["items"], second.json()["items"]
    assert (item["username"], item["today"]["calculations"], item["today"]["digits"]) == ("Ada", 1, 21)
    assert item["last_sign_in_at"] is not None
    assert (other["username"], other["last_sign_in_at"]) == ("Adam", None)
    assert other["today"] == {"calculations": 0, "digits": 0, "compute_ms": 0}
    another_order = {**query, "sort": "created_at", "cursor": first.json()["next_cursor"]}
    assert (await client.get("/users", headers=admin, params=another_order)).status_code == 422


async def test_the_overview_shows_the_processes(client: httpx.AsyncClient, admin: Headers) -> None:
    """The overview shows this process with its version and measurements, and the state of its dependencies."""

    async def look() -> dict[str, Any] | None:
        overview: dict[str, Any] = (await client.get("/admin/overview", headers=admin)).json()
        return overview if overview["instances"] else None

    overview = await found(look, "the first report")
    (instance,) = overview["instances"]
    assert (overview["version"], overview["status"], overview["dead_letters"]) == (__version__, "ok", 0)
    assert (instance["command"], instance["version"]) == ("serve", __version__)
    assert instance["started_at"] <= instance["seen_at"]
    assert instance["figures"]["compute_workers"] == 1
    assert set(instance["figures"]["database_queues"]) == {"read", "reserved", "write"}
    assert instance["figures"]["cache_circuit"] == "closed"
    assert {"database", "cache", "stream", "recorder"} <= set(overview["checks"])
