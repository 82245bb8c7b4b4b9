"""Tests of the credential or scope that each route needs. RIGHTS lists all routes but operations such as pow."""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from pycalc.models.auth import KeyScope
from pycalc.resources.wiring import Resources
from pycalc.services.operations import OPERATIONS
from tests.harness.accounts import PASSWORD, new_name, registration

pytestmark = pytest.mark.anyio

PUBLIC, SESSION = "no credential", "a session"
OF_TOOLS = "any credential: each tool needs a right of its own"
RIGHTS = {
    "GET /": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /docs/problems": PUBLIC,
    "GET /guide": PUBLIC,
    "GET /console/{page}": PUBLIC,
    "GET /health": PUBLIC,
    "GET /healthz": PUBLIC,
    "GET /metrics": PUBLIC,
    "GET /openapi.json": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /redoc": PUBLIC,
    "GET /web/{path}": PUBLIC,
    "GET /oidc/callback": PUBLIC,
    "GET /oidc/login": PUBLIC,
    "GET /.well-known/oauth-protected-resource": PUBLIC,
    "GET /.well-known/oauth-protected-resource/mcp": PUBLIC,
    "POST /login": PUBLIC,
    "POST /password-reset": PUBLIC,
    "POST /register": PUBLIC,
    "POST /token/refresh": PUBLIC,
    "POST /mcp": OF_TOOLS,
    "POST /batch": "calculate",
    "POST /calculations": "calculate",
    "POST /evaluate": "calculate",
    "POST /evaluate/preview": "calculate",
    "GET /calculations/{calculation_id}": "history:read",
    "GET /calculations/{calculation_id}/digits": "history:read",
    "GET /secure-history": "history:read",
    "GET /usage": "usage:read",
    "GET /events": "events:read",
    "GET /me": "account:read",
    "GET /me/keys": "account:read",
    "GET /me/keys/{key_id}": "account:read",
    "GET /admin/audit": "admin:read",
    "GET /admin/dead-letters": "admin:read",
    "GET /admin/overview": "admin:read",
    "GET /users": "admin:read",
    "GET /users/{username}": "admin:read",
    "DELETE /admin/dead-letters/{number}": SESSION,
    "DELETE /me": SESSION,
    "DELETE /me/sessions/{session_id}": SESSION,
    "DELETE /users/{username}/sessions": SESSION,
    "GET /me/sessions": SESSION,
    "POST /users/{username}/password-reset": SESSION,
    "DELETE /me/keys/{key_id}": SESSION,
    "DELETE /users/{username}": SESSION,
    "DELETE /users/{username}/totp": SESSION,
    "PATCH /users/{username}": SESSION,
    "POST /admin/dead-letters/{number}/requeue": SESSION,
    "POST /logout": SESSION,
    "POST /logout-all": SESSION,
    "POST /me/keys": SESSION,
    "POST /me/totp": SESSION,
    "POST /me/totp/confirm": SESSION,
    "POST /me/totp/disable": SESSION,
    "PUT /me/password": SESSION,
}


def routes(app: FastAPI) -> set[str]:
    """Return method and path of every route, except HEAD routes and routes of operations such as pow."""
    contexts = list(iter_route_contexts(app.routes))
    found = {f"{method} {each.path_format}" for each in contexts for method in (each.methods or {"ANY"}) - {"HEAD"}}
    return {each for each in found if each.removeprefix("GET /").partition("/")[0] not in OPERATIONS}


@pytest.fixture
async def session(client: httpx.AsyncClient, resources: Resources) -> dict[str, str]:
    """Register an admin, whose keys may have every scope, and return the header of the session."""
    name, token = new_name(), resources.bootstrap_token or ""
    await client.post("/register", json=registration(name, role="admin"), headers={"X-Bootstrap-Token": token})
    login = await client.post("/login", json={"username": name, "password": PASSWORD})
    return {"Authorization": f"Bearer {login.json()['access_token']}"}


async def key_with(client: httpx.AsyncClient, session: dict[str, str], scopes: Sequence[str]) -> dict[str, str]:
    """Make a key with these scopes, and return the header that carries it."""
    made = await client.post("/me/keys", headers=session, json={"name": "narrow", "scopes": [*scopes]})
    return {"Authorization": f"Bearer {made.json()['key']}"}


def requests_for(right: str) -> list[tuple[str, str]]:
    """Return method and path of each route that needs this right, and of two operations for ``calculate``."""
    operations = [f"GET {path}" for path in ("/fibonacci/10", "/gcd/4/6")] if right == "calculate" else []
    wanted = [*operations, *(route for route, needed in RIGHTS.items() if needed == right)]
    assert wanted
    return [(route.split()[0], re.sub(r"{\w+}", "3", route.split()[1])) for route in wanted]


def test_every_route_says_which_right_it_needs(app: FastAPI) -> None:
    """Each route is in the table RIGHTS, and the OpenAPI document names the same scope for API keys as the table."""
    assert routes(app) == RIGHTS.keys()
    documented = {
        f"{method.upper()} {path}": re.findall(r"An API key needs the scope `(.+)`", operation["description"])
        for path, item in app.openapi()["paths"].items()
        for method, operation in item.items()
    }
    assert {route: scopes for route, scopes in documented.items() if scopes and route in RIGHTS} == {
        route: [right] for route, right in RIGHTS.items() if right in {*KeyScope}
    }


@pytest.mark.parametrize("scope", KeyScope)
async def test_a_key_without_the_scope_is_refused(
    client: httpx.AsyncClient, session: dict[str, str], scope: str
) -> None:
    """A key without a route's scope gets 403; the body and WWW-Authenticate both name the scope (RFC 6750 §3.1)."""
    headers = await key_with(client, session, [other for other in KeyScope if other != scope])
    for method, path in requests_for(scope):
        answer = await client.request(method, path, headers=headers, json={})
        assert (answer.status_code, answer.json()["type"]) == (403, "/docs/problems#forbidden"), path
        assert f" {scope}:" in answer.json()["detail"]
        assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("scope", KeyScope)
async def test_a_key_with_only_the_scope_is_let_in(
    client: httpx.AsyncClient, session: dict[str, str], scope: str
) -> None:
    """A key that has only the scope of a route is admitted to it.

    GET routes are requested with HEAD, because ``GET /events`` never ends.
    """
    headers = await key_with(client, session, [scope])
    statuses = {
        path: (await client.request("HEAD" if method == "GET" else method, path, headers=headers, json={})).status_code
        for method, path in requests_for(scope)
    }
    assert [path for path, status in statuses.items() if status not in (200, 404, 422)] == []


async def test_no_key_does_what_needs_a_session(client: httpx.AsyncClient, session: dict[str, str]) -> None:
    """Routes that need a session refuse an API key, even a key with every scope."""
    headers = await key_with(client, session, [*KeyScope])
    for method, path in requests_for(SESSION):
        answer = await client.request(method, path, headers=headers, json={})
        assert (answer.status_code, "An API key can't do this" in answer.json()["detail"]) == (403, True), path


async def test_all_other_routes_need_a_credential(client: httpx.AsyncClient) -> None:
    """Without a credential, public routes are served, and all other routes answer 401."""
    for right in {*KeyScope, SESSION, OF_TOOLS}:
        for method, path in requests_for(right):
            assert (await client.request(method, path, json={})).status_code == 401, path
    for method, path in requests_for(PUBLIC):
        assert (await client.request(method, path, json={})).status_code in (200, 404, 422), path
