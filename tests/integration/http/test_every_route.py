"""Promises that every route keeps; the routes come from the OpenAPI document, so that new ones are tested too."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import pytest

from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, new_session, registration
from tests.harness.in_process import changed, openapi_document

pytestmark = pytest.mark.anyio

DOCUMENT = openapi_document()
UUID = "019aab12-7c00-7123-8456-426614174000"
# Values of path parameters; all others are 3.
VALUES = {"key_id": UUID, "session_id": UUID, "calculation_id": UUID, "username": "nobody"}
PAGES = ("/openapi.json", "/docs", "/redoc", "/guide", "/docs/problems", "/console/history", "/web/console.css")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
# Header fields that the document does not list: those of HTTP itself, and those that every response may have.
COMMON = {
    *("cache-control", "content-disposition", "content-encoding", "content-length", "content-type", "vary"),
    *("content-security-policy", "referrer-policy", "x-content-type-options"),
}

TEXT, HTML = {"Accept": "text/plain"}, {"Accept": "text/html"}
FIBONACCI, POW, HISTORY = "/fibonacci/{n}", "/pow/{x}/{y}", "/secure-history"
REQUESTS: list[tuple[str, str, Mapping[str, str], object]] = [
    ("GET", POW, {}, None),
    ("GET", POW, TEXT, None),
    ("GET", POW, {**TEXT, "Range": "bytes=0-1"}, None),
    ("GET", POW, {**TEXT, "Range": "bytes=9-"}, None),
    ("GET", POW, {**TEXT, "If-Match": '"another"'}, None),
    ("GET", POW, {**TEXT, "If-None-Match": "*"}, None),
    ("GET", FIBONACCI, {"If-None-Match": "*"}, None),
    ("GET", HISTORY, {}, None),
    ("GET", HISTORY, {"Accept": "text/csv"}, None),
    ("GET", HISTORY, {"Accept": "application/x-ndjson"}, None),
    *(("GET", path, {}, None) for path in ("/me", "/me/keys", "/me/sessions", "/usage", "/metrics")),
    *(("GET", path, {}, None) for path in ("/users", "/users/{username}")),
    ("DELETE", "/me/sessions/{session_id}", {}, None),
    ("DELETE", "/users/{username}/sessions", {}, None),
    ("POST", "/users/{username}/password-reset", {}, None),
    ("POST", "/password-reset", {}, {"token": "unknown", "new_password": PASSWORD}),
    ("POST", "/token/refresh", {}, {"cookie": True}),
    ("DELETE", "/me", {}, {"password": "wrong"}),
    ("GET", "/admin/audit", {}, None),
    ("GET", "/admin/audit", {"Accept": "text/csv"}, None),
    ("GET", "/admin/dead-letters", {}, None),
    ("GET", "/admin/overview", {}, None),
    ("GET", "/", HTML, None),
    ("GET", "/", {**HTML, "If-None-Match": "*"}, None),
    ("GET", "/", {**HTML, "If-Match": '"another"'}, None),
    ("POST", "/batch", {}, {"operations": [{"operation": "fibonacci", "input": {"n": 1}}]}),
    ("POST", "/batch", {}, {}),
    ("POST", "/evaluate/preview", {}, {"expression": "3^(10^12)"}),
    ("POST", "/calculations", {}, {"operation": "fibonacci", "input": {"n": 1}}),
    ("POST", "/calculations", {}, {}),
    ("GET", "/calculations/{calculation_id}", {}, None),
    ("GET", "/calculations/{calculation_id}/digits", {}, None),
    ("POST", "/batch", {"Content-Type": "text/plain"}, {}),
    ("GET", "/batch", {}, None),
    ("POST", "/register", {}, registration(new_name())),
    ("POST", "/login", {}, {"username": "nobody", "password": "x"}),
    ("POST", "/login", {"Content-Encoding": "gzip"}, {}),
    ("POST", "/me/keys", {}, {"name": "report"}),
    ("POST", "/me/keys", {}, {"name": "x" * 9_000}),
    ("DELETE", "/me/keys/{key_id}", {}, None),
    *[("GET", FIBONACCI, {}, None)] * 20,  # the last one exceeds the rate limit
]


def target(template: str) -> str:
    """Return a path template with its parameters replaced by values."""
    return re.sub(r"\{(\w+)\}", lambda found: VALUES.get(found[1], "3"), template)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path template and entry of each operation in the OpenAPI document."""
    for template, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method.upper(), template, operation


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the test's changes."""
    return changed(settings, **getattr(request, "param", {}))


@pytest.fixture
async def caller(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the client, logged in."""
    await new_session(client)
    return client


async def test_405_lists_the_methods_of_every_path(client: httpx.AsyncClient) -> None:
    """The Allow field of a 405 lists the documented methods, and HEAD where there is GET (RFC 9110 §15.5.6)."""
    for template in (*DOCUMENT["paths"], *PAGES):
        known = {method.upper() for method in DOCUMENT["paths"].get(template, ["get"])}
        allowed = known | ({"HEAD"} if "GET" in known else set())
        for method in set(METHODS) - known:
            answer = await client.request(method, target(template))
            assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, allowed), template
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_request_without_host_is_400_everywhere(caller: httpx.AsyncClient) -> None:
    """A request without Host gets 400 (RFC 9112 §3.2)."""
    for method, template, _ in operations():
        request = caller.build_request(method, target(template))
        del request.headers["Host"]
        answer = await caller.send(request)
        assert (answer.status_code, answer.json()["type"]) == (400, "/docs/problems#bad-request"), template


async def test_a_query_parameter_given_twice_is_refused_everywhere(caller: httpx.AsyncClient) -> None:
    """A repeated query parameter gets 422, even one that the route does not define.

    Routes such as health and metrics are not tested: they ignore all parameters.
    """
    for method, template, operation in operations():
        if operation["tags"] != ["service"]:
            answer = await caller.request(method, target(template), params=[("a", "1"), ("a", "2")])
            assert answer.status_code == 422, template
            assert [error["pointer"] for error in answer.json()["errors"]] == ["/a"], template


def routes_for_callers() -> Iterator[tuple[str, str]]:
    """Yield method and path of each route in the OpenAPI document that needs a credential, and of the MCP endpoint."""
    for method, template, operation in operations():
        if operation["security"] and {} not in operation["security"]:
            yield method, target(template)
    yield "POST", "/mcp"


@pytest.mark.parametrize("credential", [{}, {"Authorization": "Bearer unknown"}], ids=["none", "bad"])
@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?a=1&a=1", {}),
        ("?limit=x", {}),
        ("", {"If-Match": '"x"'}),
        ("", {"Content-Type": "application/json"}),
        ("", {"Content-Type": "text/plain"}),
        ("", {}),
    ],
    ids=["repeated parameter", "bad parameter", "If-Match", "malformed JSON", "wrong type", "no type"],
)
async def test_without_a_valid_token_everything_is_401(
    client: httpx.AsyncClient, credential: Mapping[str, str], query: str, headers: Mapping[str, str]
) -> None:
    """A request without a valid token gets 401, whatever else is wrong with it, and its body is not read."""
    read = []

    async def malformed() -> AsyncIterator[bytes]:
        read.append(path)
        yield b"{"

    tested = [*routes_for_callers()]
    if credential:
        tested.append(("POST", "/register"))  # needs none, but refuses a bad one
    assert len(tested) > 40
    for method, path in tested:
        answer = await client.request(method, path + query, headers={**headers, **credential}, content=malformed())
        assert (answer.status_code, answer.json()["type"]) == (401, "/docs/problems#unauthorized"), (method, path)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="pycalc"')
    assert read == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_missing_scope_is_403_before_the_request_is_judged(client: httpx.AsyncClient, method: str) -> None:
    """A key without the needed scope gets 403, even if the query, the type and the body are wrong too."""
    await new_session(client)
    key = (await client.post("/me/keys", json={"name": "narrow", "scopes": ["account:read"]})).json()["key"]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/plain"}
    for of_route, path in routes_for_callers():
        if of_route == method and not path.startswith(("/me", "/mcp")):
            answer = await client.request(method, f"{path}?a=1&a=1", headers=headers, content=b"{")
            assert answer.status_code == 403, path


async def test_head_has_the_header_fields_of_get(caller: httpx.AsyncClient) -> None:
    """HEAD has the header fields of GET (RFC 9110 §9.3.2), except those that differ at each call, and no content."""
    for method, template, _ in operations():
        if method != "GET" or template == "/events":  # its GET never ends
            continue
        answers = [await caller.request(each, target(template)) for each in ("HEAD", "GET")]
        for answer in answers:
            for name in ("Content-Length", "X-Calculation-Id", "RateLimit"):
                answer.headers.pop(name, None)
        assert answers[0].content == b""
        assert answers[0].status_code == answers[1].status_code, template
        assert answers[0].headers == answers[1].headers, template


async def test_an_answer_without_content_has_no_content_type(client: httpx.AsyncClient, settings: Settings) -> None:
    """A 204 has no Content-Type. With ``application/json``, some clients would try to parse the empty body."""
    token = (settings.data_dir / "bootstrap-token").read_text().strip()
    name = new_name()
    await client.post("/register", json=registration(name, role="admin"), headers={"X-Bootstrap-Token": token})
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    user = (await client.post("/register", json=registration(new_name()))).headers["Location"]
    key = (await client.post("/me/keys", json={"name": "report"})).headers["Location"]
    change = {"current_password": PASSWORD, "new_password": "another good one"}
    answers = [
        await client.delete(key),
        await client.delete(user),
        await client.put("/me/password", json=change),
        await client.post("/logout"),
    ]
    del client.headers["Authorization"]
    await new_session(client)
    answers.append(await client.post("/logout-all"))
    assert [answer.status_code for answer in answers] == [204] * 5
    assert [answer.headers.get("Content-Type") for answer in answers] == [None] * 5


@pytest.mark.parametrize("settings", [{"rate_limit": "20/minute"}], indirect=True)
async def test_every_header_field_is_documented(client: httpx.AsyncClient) -> None:
    """Every header field of a response, successful or not, is documented for the status of that response."""
    await new_session(client)
    seen = set()
    for method, template, headers, body in REQUESTS:
        answer = await client.request(method, target(template), headers=headers, json=body)
        item = DOCUMENT["paths"][template]
        # A 405 is documented at the path's other methods.
        operation = item.get(method.lower()) or next(iter(item.values()))
        documented = operation["responses"][str(answer.status_code)]
        given = {name.lower() for name in answer.headers} - COMMON
        assert given <= {name.lower() for name in documented.get("headers", {})}, (template, answer)
        seen.add(answer.status_code)
    assert seen == {200, 201, 206, 304, 401, 403, 404, 405, 412, 413, 415, 416, 422, 429}


async def test_every_example_of_a_request_is_taken(client: httpx.AsyncClient) -> None:
    """The example of each JSON body is valid for its route; the deletion of the account is tried last."""
    register, login = (
        DOCUMENT["components"]["schemas"]["Registration"],
        DOCUMENT["components"]["schemas"]["Credentials"],
    )
    assert (await client.post("/register", json=register["example"])).status_code == 201
    session = (await client.post("/login", json=login["example"])).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    bodies = [
        (method.upper(), path, operation["requestBody"]["content"]["application/json"]["schema"]["$ref"])
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if "requestBody" in operation
    ]
    assert len(bodies) > 10
    for method, path, reference in sorted(bodies, key=lambda body: body[1] == "/me"):
        example = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]["example"]
        answer = await client.request(method, target(path), json=example, headers=headers)
        assert answer.status_code not in (400, 413, 415, 422, 500), (method, path, answer.text)
