"""API keys in URLs: only keys with this permission are accepted, and no log, trace or database contains them."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from pycalc.resources.wiring import Resources
from tests.harness.accounts import PASSWORD, new_name, new_person, registration
from tests.harness.collector import collector
from tests.harness.servers import free_port, pycalc, running, settings_of
from tests.harness.waiting import wait_until

VISIBLE = 12  # the length of a key's prefix, which the list of keys shows


def url_key(client: httpx.Client, headers: dict[str, str]) -> str:
    """Make a key that may be sent in a URL, and return it."""
    body = {"name": "sheet", "scopes": ["calculate"], "allow_query": True}
    key: str = client.post("/me/keys", headers=headers, json=body).raise_for_status().json()["key"]
    return key


def requests_with(key: str) -> list[tuple[str, str, object]]:
    """Return requests with this key or an unknown one in the URL, of which some succeed and some fail."""
    unknown = "pck_" + secrets.token_urlsafe(32)
    return [
        ("GET", f"/fibonacci/10?key={key}", None),
        ("GET", f"/fibonacci/10?format=text&key={key}", None),
        ("GET", f"/fibonacci/11?%6bey={key}", None),
        ("GET", f"/fibonacci/11?key=%70{key[1:]}", None),
        ("HEAD", f"/fibonacci/12?key={key}", None),
        ("GET", f"/fibonacci/x?key={key}", None),
        ("GET", f"/fibonacci/10?key={key}&other=1", None),
        ("GET", f"/fibonacci/10?key={key}&key={key}", None),
        ("GET", f"/pow/0/-1?key={key}", None),
        ("GET", f"/fibonacci/3000000?view=summary&key={key}", None),
        ("DELETE", f"/fibonacci/10?key={key}", None),
        ("POST", f"/calculations?key={key}", {"operation": "fibonacci", "input": {"n": 13}}),
        ("POST", f"/evaluate?key={key}", {"expression": "1/0"}),
        ("POST", f"/batch?key={key}", {"operations": [{"operation": "fibonacci", "input": {"n": 14}}]}),
        ("POST", f"/register?key={key}", {}),
        ("GET", f"/secure-history?limit=1&key={key}", None),
        ("GET", f"/me?key={key}", None),
        ("GET", f"/users?limit=1&key={key}", None),
        ("GET", f"/nowhere?key={key}", None),
        ("GET", f"/docs?key={key}", None),
        ("GET", f"/?key={key}", None),
        ("GET", f"/fibonacci/10?key={unknown}", None),
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Send keys in URLs to a server with tracing; return its logs, responses and files by name, and the key."""
    folder = tmp_path_factory.mktemp("written")
    log = folder / "log"
    with collector() as sink, pytest.MonkeyPatch.context() as patch:
        for name, value in sink.environment.items():
            patch.setenv(name, value)
        with (
            pycalc(data=folder / "data", log=log, log_format="google", rate_limit="1000/minute") as server,
            httpx.Client(base_url=server.url, timeout=15) as client,
        ):
            person = new_person(client)
            key = url_key(client, person.headers)
            answers = [client.request(method, url, json=body) for method, url, body in requests_with(key)]
            both = client.get(f"/secure-history?limit=1&key={key}", headers=person.headers)
            history = client.get("/secure-history", headers={**person.headers, "Accept": "application/x-ndjson"}).text
            metrics = client.get("/metrics").text
            wait_until(lambda: any(span.name == "POST /batch" for span in sink.spans), "spans have arrived", 30)
        wait_until(lambda: any(span.name == "GET /secure-history" for span in sink.spans), "all spans arrived", 30)
        spans = repr(sink.spans)
    statuses = [answer.status_code for answer in answers]
    assert {*statuses} == {200, 201, 401, 403, 404, 405, 422}, statuses
    assert both.status_code == 422
    fields = ("Location", "Link", "RateLimit", "RateLimit-Policy")
    return {
        "key": key,
        "log": log.read_text(),
        "metrics": metrics,
        "history": history,
        "traces": spans,
        "bodies": "".join(answer.text for answer in [*answers, both]),
        "headers": repr([list(answer.headers.items()) for answer in [*answers, both]]),
        "references": repr([answer.headers.get(name) for answer in answers for name in fields]),
        "caching": " | ".join({answer.headers["Cache-Control"] for answer in answers}),
        "database": "".join(file.read_bytes().decode("latin-1") for file in (folder / "data").glob("pycalc.db*")),
    }


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("log", '"requestUrl": "/secure-history"'),  # in the format of Google Cloud Logging
        ("log", '"message": "request refused"'),
        ("metrics", 'route="/fibonacci/{n}"'),
        ("history", '"operation":"fibonacci"'),
        ("traces", "'url.path': '/fibonacci/10'"),
        ("bodies", '"instance":"/fibonacci/x"'),
        ("headers", "x-calculation-id"),
        ("references", "/calculations/"),
        ("references", '"minute";r='),
        ("database", "fibonacci"),
    ],
)
def test_a_key_in_a_url_is_written_nowhere(written: dict[str, str], place: str, shown: str) -> None:
    """Logs, metrics, traces, responses and the database show the request, but nothing of the key after its prefix."""
    assert shown in written[place]
    secret = written["key"][VISIBLE:]
    assert secret not in written[place]


def test_no_cache_stores_a_response_to_a_url_with_a_key(written: dict[str, str]) -> None:
    """Responses to a URL with a key are ``private, no-store``."""
    assert written["caching"] == "private, no-store"


def test_an_access_log_of_another_server_does_not_show_a_key(tmp_path: Path) -> None:
    """Uvicorn's access log shows the query without the key."""
    port, log = free_port(), tmp_path / "log"
    uvicorn = [sys.executable, "-m", "uvicorn", "pycalc.main:app", "--port", str(port)]
    command = ["sh", "-c", 'exec "$@" >&2', "sh", *uvicorn]  # Uvicorn writes its access log to standard output
    with (
        running("uvicorn", command, "/healthz", port, settings_of(tmp_path / "data", port), log) as server,
        httpx.Client(base_url=server.url, timeout=15) as client,
    ):
        key = url_key(client, new_person(client).headers)
        statuses = [client.request(method, url, json=body).status_code for method, url, body in requests_with(key)]
    lines = log.read_text()
    assert statuses.count(200) > 1
    assert '"GET /fibonacci/10?format=text HTTP/1.1" 200' in lines
    assert '"HEAD /fibonacci/12 HTTP/1.1" 200' in lines
    assert key[VISIBLE:] not in lines


@pytest.fixture
async def key(client: httpx.AsyncClient) -> str:
    """Register an account, log in, and return a key that may be sent in a URL."""
    name = new_name()
    await client.post("/register", json=registration(name))
    login = await client.post("/login", json={"username": name, "password": PASSWORD})
    session = {"Authorization": f"Bearer {login.json()['access_token']}"}
    body = {"name": "sheet", "scopes": ["calculate"], "allow_query": True}
    made: str = (await client.post("/me/keys", headers=session, json=body)).json()["key"]
    return made


@pytest.mark.anyio
async def test_an_unexpected_error_does_not_log_the_key(
    client: httpx.AsyncClient,
    resources: Resources,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After an unexpected error, the log shows the error, but neither the log nor the answer contains the key."""

    def fail(*_: object) -> None:
        raise RuntimeError("a fault of this test")

    monkeypatch.setattr(resources.calculator, "planned", fail)
    answer = await client.get(f"/fibonacci/10?key={key}&view=full")
    assert (answer.status_code, answer.json()["instance"]) == (500, "/fibonacci/10")
    assert "X-Request-ID" in answer.headers
    assert "X-Request-ID" in answer.json()["detail"]
    # Earlier tests decide which of two ways captures the log. Records of httpx, the test's own client, show the URL.
    records = [caplog.handler.format(record) for record in caplog.records if record.name != "httpx"]
    logged = capsys.readouterr().out + "".join(records)
    assert "a fault of this test" in logged
    assert key[VISIBLE:] not in logged + answer.text


@pytest.mark.anyio
async def test_an_overloaded_service_does_not_show_the_key(
    client: httpx.AsyncClient, app: Any, resources: Resources, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the service is overloaded, the HTTP server's 503 does not contain the key, and may not be cached."""
    monkeypatch.setattr(resources.calculator.slots, "try_acquire", lambda _: None)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/fibonacci/10",
        "query_string": f"key={key}".encode(),
        "headers": [(b"host", b"pycalc.test")],
        "state": {"resources": resources},
    }
    start, body = app.refusal(scope)
    assert (start["status"], scope["query_string"]) == (503, b"")
    assert (b"cache-control", b"private, no-store") in start["headers"]
    assert key[VISIBLE:].encode() not in body["body"]


@pytest.mark.anyio
async def test_only_a_key_that_allows_it_is_accepted_in_a_url(client: httpx.AsyncClient, key: str) -> None:
    """In a URL, an API key without the permission for URLs gets 403, and an access token gets 401.

    A request with a key in the URL and a token in the header gets 422.
    """
    name = new_name()
    await client.post("/register", json=registration(name))
    token = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()["access_token"]
    session = {"Authorization": f"Bearer {token}"}
    body = {"name": "other", "scopes": ["calculate"]}
    other = (await client.post("/me/keys", headers=session, json=body)).json()["key"]
    assert (await client.get("/fibonacci/10", params={"key": key})).status_code == 200
    refused = await client.get("/fibonacci/10", params={"key": other})
    assert (refused.status_code, "allow_query" in refused.json()["detail"]) == (403, True)
    assert (await client.get("/fibonacci/10", params={"key": token})).status_code == 401
    assert (await client.get("/fibonacci/10", params={"key": ""})).status_code == 401
    twice = await client.get("/fibonacci/10", params={"key": key}, headers=session)
    assert (twice.status_code, twice.json()["errors"][0]["pointer"]) == (422, "/key")
    assert (await client.get("/fibonacci/10", params=[("key", key), ("key", key)])).status_code == 401
    assert (await client.get("/fibonacci/10", params=[("mod", "7"), ("mod", "8")])).status_code == 401
    repeated = await client.post("/evaluate", params=[("key", key), ("key", key)], json={"expression": "1"})
    assert repeated.status_code == 401
    narrow = await client.get("/secure-history", params={"key": key})
    assert (narrow.status_code, "history:read" in narrow.json()["detail"]) == (403, True)


@pytest.mark.anyio
async def test_a_key_is_accepted_as_a_password(client: httpx.AsyncClient, key: str) -> None:
    """HTTP Basic accepts a key as the password with any user name, but refuses an account's password."""
    for user in ("", "ada", "key"):
        assert (await client.get("/fibonacci/10", auth=(user, key))).status_code == 200
    name = new_name()
    await client.post("/register", json=registration(name))
    refused = await client.get("/fibonacci/10", auth=(name, PASSWORD))
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="pycalc"')
