"""``POST /mcp`` as an HTTP endpoint: credentials, scopes, limits, origins, and errors."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from typing import Any

import gmpy2
import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope
from structlog.testing import capture_logs

from pycalc.mcp import router
from pycalc.resources.wiring import Resources
from pycalc.settings import Settings
from tests.harness.accounts import history_of, new_person
from tests.harness.in_process import changed, new_user
from tests.harness.mcp import error_of, mcp_client, value_of
from tests.harness.servers import Server
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

PROVIDER = {
    "oidc_issuer": "https://login.example",
    "oidc_client_id": "pycalc",
    "oidc_client_secret": "secret",
    "oidc_redirect_url": "https://pycalc.example/oidc/callback",
}
ACCEPT = {"Accept": "application/json, text/event-stream"}
FIBONACCI = {"name": "fibonacci", "arguments": {"n": "100"}}


def message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Return settings with the test's changes."""
    return changed(settings, **getattr(request, "param", {}))


@pytest.fixture
async def caller(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the client, logged in, with the Accept field of MCP clients."""
    client.headers.update({**(await new_user(client))[1], **ACCEPT})
    return client


async def key_of(caller: httpx.AsyncClient, **body: object) -> str:
    """Make an API key and return it."""
    key: str = (await caller.post("/me/keys", json={"name": "agent", **body})).json()["key"]
    return key


async def call(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    """Call the tool ``fibonacci``, and return the HTTP answer."""
    return await client.post("/mcp", json=message("tools/call", FIBONACCI), headers=headers)


def scope_of(app: FastAPI, request: httpx.Request) -> Scope:
    """Return the ASGI scope of a request to the endpoint."""
    return {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "state": app.state.lifespan,
    }


async def test_every_credential_of_http_is_taken(caller: httpx.AsyncClient) -> None:
    """A session's token, an API key as a bearer token, and an API key by HTTP Basic are accepted."""
    assert (await call(caller)).json()["result"]["structuredContent"]["result"] == "354224848179261915075"
    key = await key_of(caller)
    basic = httpx.BasicAuth("key", key)._auth_header
    for credential in (f"Bearer {key}", basic):
        answer = await call(caller, Authorization=credential)
        assert answer.status_code == 200
        assert answer.json()["result"]["isError"] is False


async def test_scopes_hold_for_each_tool(app: FastAPI, caller: httpx.AsyncClient) -> None:
    """A key lists only the tools that its scopes allow; a call of another tool gets an error with the missing scope."""
    key = await key_of(caller, scopes=["calculate"])
    async with mcp_client(app, app.state.lifespan, {"Authorization": f"Bearer {key}"}) as tools:
        names = {tool.name for tool in (await tools.list_tools()).tools}
        assert {"history", "digits"} & names == set()
        assert {"evaluate", "batch"} <= names
        found = await value_of(tools, "gcd", a="6", b="4")
        with capture_logs() as logs:
            for tool, arguments in (("history", {}), ("digits", {"id": found["id"]})):
                assert "lacks the scope history:read" in await error_of(tools, tool, **arguments)
        refused = [(entry["status"], entry["route"]) for entry in logs if entry["event"] == "request refused"]
        assert refused == [(403, "/mcp")] * 2  # refusals are in the audit log as those of HTTP are
    key = await key_of(caller, scopes=["history:read"])
    async with mcp_client(app, app.state.lifespan, {"Authorization": f"Bearer {key}"}) as tools:
        assert [tool.name for tool in (await tools.list_tools()).tools] == ["digits", "history"]
        assert "lacks the scope calculate" in await error_of(tools, "gcd", a="6", b="4")
        operations = [{"operation": "gcd", "input": {"a": "6", "b": "4"}}]
        assert "lacks the scope calculate" in await error_of(tools, "batch", operations=operations)


@pytest.mark.parametrize("settings", [{"rate_limit": "3/minute"}], indirect=True)
async def test_calls_count_towards_the_rate_limit(app: FastAPI, caller: httpx.AsyncClient) -> None:
    """Tool calls and HTTP requests count towards one rate limit; a batch that would exceed it counts nothing."""
    answer = await call(caller)
    assert answer.headers["RateLimit"].startswith('"minute";r=2;')
    credentials = {"Authorization": caller.headers["Authorization"]}
    async with mcp_client(app, app.state.lifespan, credentials) as tools:
        three = [{"operation": "gcd", "input": {"a": "6", "b": "4"}}] * 3
        refusal = await error_of(tools, "batch", operations=three)
        assert refusal.lower().count("retry in") == 1
        await value_of(tools, "batch", operations=three[:2])
        assert "Retry in" in await error_of(tools, "gcd", a="6", b="4")
    assert (await caller.get("/fibonacci/3")).status_code == 429


@pytest.mark.parametrize("settings", [{"page_limit": "2/minute"}], indirect=True)
async def test_the_list_of_tools_counts_as_a_page(caller: httpx.AsyncClient) -> None:
    """A list of tools counts towards an address's limit on documentation pages, because it is large.

    Calls of tools do not count towards this limit.
    """
    wanted = message("tools/list", {})
    for _ in range(2):
        assert "tools" in (await caller.post("/mcp", json=wanted)).json()["result"]
    error = (await caller.post("/mcp", json=wanted)).json()["error"]
    assert error["message"].startswith("Too many requests for pages from this address")
    assert error["message"].lower().count("retry in") == 1
    assert (await call(caller)).json()["result"]["isError"] is False
    assert (await caller.get("/docs")).status_code == 429


@pytest.mark.parametrize("settings", [{"mcp_inline_digits": 100}], indirect=True)
async def test_the_quota_counts_what_a_batch_sends(caller: httpx.AsyncClient) -> None:
    """The digits quota counts only the results of a batch that are sent in full, not those sent in abbreviated form."""
    operations = [{"operation": "evaluate", "input": {"expression": f"10^{power}"}} for power in (59, 49, 39, 5000)]
    params = {"name": "batch", "arguments": {"operations": operations}}
    answer = await caller.post("/mcp", json=message("tools/call", params))
    sent = [len(each.get("result", "")) for each in answer.json()["result"]["structuredContent"]["results"]]
    assert sent == [60, 0, 40, 0]
    digits = next(quota for quota in (await caller.get("/usage")).json()["quotas"] if quota["name"] == "digits")
    assert digits["used"] == 100


@pytest.mark.parametrize("settings", [{"mcp_inline_digits": 2_000, "digits_quota": "3000B/day"}], indirect=True)
async def test_a_batch_sends_nothing_beyond_the_quota(caller: httpx.AsyncClient) -> None:
    """If the digits quota refuses a result of a batch, that result becomes an error.

    The results after it are sent in abbreviated form, even if the quota would allow them.
    """
    powers = (1899, 499, 498)  # the last two would fit into the 1,100 bytes that the first call leaves of the quota
    operations = [{"operation": "evaluate", "input": {"expression": f"10^{power}"}} for power in powers]
    params = {"name": "batch", "arguments": {"operations": operations}}
    for expected in ([1_900, 0, 0], [0, 0, 0]):
        answer = await caller.post("/mcp", json=message("tools/call", params))
        results = answer.json()["result"]["structuredContent"]["results"]
        assert [len(each.get("result", "")) for each in results] == expected
    assert "1,100 are left" in results[0]["error"]
    assert ["error" in each for each in results] == [True, False, False]


async def test_without_credentials_it_is_401(client: httpx.AsyncClient) -> None:
    """Without an identity provider, a 401 has no link to OAuth metadata (RFC 9728), whose path gets 404."""
    answer = await call(client)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="pycalc"')
    assert answer.json()["type"] == "/docs/problems#unauthorized"
    assert (await client.get("/.well-known/oauth-protected-resource/mcp")).status_code == 404


@pytest.mark.parametrize("settings", [PROVIDER], indirect=True)
async def test_the_metadata_of_the_protected_resource(client: httpx.AsyncClient) -> None:
    """With an identity provider, a 401 has a link to the OAuth metadata (RFC 9728) of /mcp.

    The metadata names no authorization server, because the service accepts only its own tokens and keys.
    """
    answer = await call(client, Authorization="Bearer nonsense")
    where = "https://pycalc.example/.well-known/oauth-protected-resource/mcp"
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="pycalc", error="invalid_token", resource_metadata="{where}"'
    )
    metadata = (await client.get("/.well-known/oauth-protected-resource/mcp")).json()
    assert metadata["resource"] == "https://pycalc.example/mcp"
    assert metadata["scopes_supported"] == ["calculate", "history:read"]
    assert "authorization_servers" not in metadata
    assert (await client.get("/.well-known/oauth-protected-resource")).json() == metadata


@pytest.mark.parametrize("settings", [{"cors_origins": ("https://app.example",)}], indirect=True)
async def test_a_page_of_another_origin_is_refused(caller: httpx.AsyncClient) -> None:
    """A web page may call tools only if its origin is in PYCALC_CORS_ORIGINS, as MCP requires."""
    statuses = [
        (await call(caller, Origin=origin)).status_code
        for origin in ("https://evil.example", "http://pycalc.test", "http://[", "https://app.example")
    ]
    assert statuses == [403, 403, 403, 200]


async def test_the_form_of_requests_is_checked_as_everywhere(caller: httpx.AsyncClient) -> None:
    """A request's size, type, query and method are checked as on other paths; an invalid message gets an error."""
    long = message("tools/call", {"name": "gcd", "arguments": {"a": "1" * 70_000, "b": "2"}})
    assert (await caller.post("/mcp", json=long)).status_code == 413
    assert (await caller.post("/mcp", content=b"{}", headers={"Content-Type": "text/plain"})).status_code == 415
    assert (await caller.post("/mcp?a=1&a=2", json={})).status_code == 422
    for method in ("GET", "DELETE"):  # neither event streams nor sessions are supported
        answer = await caller.request(method, "/mcp")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    answer = await caller.post("/mcp", json={"no": "message"})
    assert (answer.status_code, answer.json()["jsonrpc"]) == (400, "2.0")


async def test_a_hundred_calls_at_once(server: Server) -> None:
    """A hundred calls of one user at the same time are answered by a real server."""
    with httpx.Client(base_url=server.url) as client:
        person = new_person(client)
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=server.url, headers={**person.headers, **ACCEPT}, limits=limits) as client:
        found = await asyncio.gather(
            *(
                client.post("/mcp", json=message("tools/call", {"name": "fibonacci", "arguments": {"n": str(n)}}))
                for n in range(100)
            )
        )
    results = [answer.json()["result"]["structuredContent"]["result"] for answer in found]
    assert results == [str(gmpy2.fib(n)) for n in range(100)]


class Unread:
    """A tool call whose client reads nothing of the response's body until ``read`` is called."""

    def __init__(self, app: FastAPI, request: httpx.Request) -> None:
        self.begun = False
        self._read = b""
        self._body = [request.content]
        self._reading = asyncio.Event()
        self._answering = asyncio.create_task(app(scope_of(app, request), self._receive, self._send))

    async def _receive(self) -> Message:
        if not self._body:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self._body.pop(), "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.begun = True
            await self._reading.wait()
            self._read += message.get("body", b"")

    async def read(self) -> Any:
        """Read the whole answer, and return the tool's result."""
        self._reading.set()
        await self._answering
        return json.loads(self._read)["result"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("evaluate", {"expression": "10^49999"}),
        ("digits", {"count": "50000"}),
    ],
)
@pytest.mark.parametrize("settings", [{"mcp_inline_digits": 60_000, "response_memory": 1_048_576}], indirect=True)
async def test_answers_that_nobody_reads_hold_half_of_the_memory(
    app: FastAPI, caller: httpx.AsyncClient, resources: Resources, tool: str, arguments: dict[str, Any]
) -> None:
    """An account's unread responses take at most half of the response memory.

    Then a tool call with a long result gets an error and records nothing; short results are still sent.
    """
    first = await caller.post("/calculations", json={"operation": "pow", "input": {"x": "10", "y": "49999"}})
    if tool == "digits":
        arguments = {**arguments, "id": first.json()["id"]}
    wanted = message("tools/call", {"name": tool, "arguments": arguments})
    memory, unread = resources.response_memory, []

    async def recorded() -> tuple[Any, Any]:
        """Return the history, and the state of the quotas."""
        return (await caller.get("/secure-history")).json(), (await caller.get("/usage")).json()["quotas"]

    for _ in range(5):
        unread.append(Unread(app, caller.build_request("POST", "/mcp", json=wanted)))
        await until(lambda: unread[-1].begun, "the answer is being sent")
    assert 500_000 <= memory.taken <= memory.total // 2
    before = await recorded()
    refused = (await caller.post("/mcp", json=wanted)).json()["result"]
    assert (refused["isError"], refused["content"][0]["text"]) == (
        True,
        "Too many long responses are being made or sent. Retry in 5 s.",
    )
    assert await recorded() == before
    assert (await call(caller)).json()["result"]["isError"] is False
    for each in unread:
        assert (await each.read())["isError"] is False
    assert memory.taken == 0
    assert (await caller.post("/mcp", json=wanted)).json()["result"]["isError"] is False


@pytest.mark.parametrize("settings", [{"mcp_inline_digits": 60_000, "response_memory": 1_048_576}], indirect=True)
async def test_batches_that_nobody_reads_hold_half_of_the_memory(
    app: FastAPI, caller: httpx.AsyncClient, resources: Resources
) -> None:
    """The results of unread batches hold half of the response memory at most; a further result becomes an error."""
    operations = [{"operation": "evaluate", "input": {"expression": "10^9999"}}] * 5
    wanted = message("tools/call", {"name": "batch", "arguments": {"operations": operations}})
    memory, unread = resources.response_memory, []
    for _ in range(6):
        unread.append(Unread(app, caller.build_request("POST", "/mcp", json=wanted)))
        await until(lambda: unread[-1].begun, "the answer is being sent")
        assert memory.taken <= memory.total // 2
    answers = [(await each.read())["structuredContent"]["results"] for each in unread]
    assert [len(result["result"]) for result in answers[0]] == [10_000] * 5
    assert answers[-1][-1] == {"error": "Too many long responses are being made or sent. Retry in 5 s."}
    assert memory.taken == 0


def until_gone(request: httpx.Request, gone: asyncio.Event) -> Receive:
    """Return the ``receive`` of a client that sends a request's body, and disconnects once ``gone`` is set."""
    body = [{"type": "http.request", "body": request.content, "more_body": False}]

    async def receive() -> Message:
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


def computing(resources: Resources) -> float:
    """Return the number of computations in workers."""
    return resources.metrics.registry.get_sample_value("pycalc_compute_running") or 0.0


async def test_a_client_that_hangs_up_stops_its_computation(
    app: FastAPI, caller: httpx.AsyncClient, resources: Resources
) -> None:
    """If the client disconnects, the computation stops and nothing is recorded."""
    await caller.get("/factorial/100000")  # start a worker first, because a disconnect does not interrupt its start
    gone = asyncio.Event()
    request = caller.build_request(
        "POST", "/mcp", json=message("tools/call", {"name": "factorial", "arguments": {"n": "4000000"}})
    )
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asked = asyncio.create_task(app(scope_of(app, request), until_gone(request, gone), send))
    await until(lambda: computing(resources) == 1, "it is being computed")
    gone.set()
    await until(lambda: computing(resources) == 0, "the computation is stopped")
    await asked
    assert sent[0]["status"] == 499  # a status for log and metrics; the client does not receive it
    items = await history_of(caller)
    assert [item["input"] for item in items] == [{"n": 100_000}]


@pytest.mark.parametrize("settings", [{"max_digits": 1_000, "response_memory": 4 << 20}], indirect=True)
async def test_a_long_message_takes_memory_until_it_is_answered(
    app: FastAPI, caller: httpx.AsyncClient, resources: Resources
) -> None:
    """A message of 60,000 bytes reserves 1.9 MB until it is answered, because its parsed form may take so much.

    A second message, which would exceed half of the response memory, gets 503.
    """
    await caller.get("/factorial/1000000?mod=1000036000099")  # starts a worker, whose start no disconnect interrupts
    wanted = message("tools/call", {"name": "factorial", "arguments": {"n": "200000000", "mod": "1000036000099"}})
    request = caller.build_request("POST", "/mcp", content=json.dumps(wanted).encode().ljust(60_000))
    request.headers["Content-Type"] = "application/json"
    gone = asyncio.Event()

    async def send(_message: Message) -> None:
        pass

    asked = asyncio.create_task(app(scope_of(app, request), until_gone(request, gone), send))
    await until(lambda: computing(resources) == 1, "it is being computed")
    assert resources.response_memory.taken == 1_920_000
    second = await caller.send(request)
    assert (second.status_code, second.json()["type"]) == (503, "/docs/problems#overloaded")
    assert (await call(caller)).status_code == 200
    gone.set()
    await until(lambda: computing(resources) == 0, "the computation is stopped")
    await asked
    await until(lambda: resources.response_memory.taken == 0, "the memory is released")


@pytest.mark.parametrize("tool", ["batch", "evaluate"])
@pytest.mark.parametrize("settings", [{"mcp_inline_digits": 60_000}], indirect=True)
async def test_a_client_that_hangs_up_leaves_no_memory_reserved(
    app: FastAPI, caller: httpx.AsyncClient, resources: Resources, tool: str
) -> None:
    """If the client disconnects during any phase of a call, the response memory is released, and no error is logged."""
    gcd = {"operation": "gcd", "input": {"a": "6", "b": "4"}}
    arguments = {"batch": {"operations": [gcd] * 100}, "evaluate": {"expression": "10^49999"}}[tool]
    wanted = message("tools/call", {"name": tool, "arguments": arguments})
    request = caller.build_request("POST", "/mcp", json=wanted)
    first = await caller.post("/mcp", json=wanted)  # starts the SDK, and caches the result
    assert first.json()["result"]["isError"] is False

    async def hang_up(iterations: int) -> None:
        """Send the request, disconnect after some iterations of the event loop, and wait for the SDK's tasks."""
        body = [{"type": "http.request", "body": request.content, "more_body": False}]

        async def receive() -> Message:
            if body:
                return body.pop()
            for _ in range(iterations):
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        async def send(_message: Message) -> None:
            pass

        await app(scope_of(app, request), receive, send)
        await until(lambda: not any("mcp." in task.get_name() for task in asyncio.all_tasks()), "the tool has ended")

    with capture_logs() as logs:
        for iterations in range(11):
            await hang_up(iterations)
    assert resources.response_memory.taken == 0
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


@pytest.mark.parametrize("settings", [{"mcp_inline_digits": 60_000}], indirect=True)
async def test_a_client_that_hangs_up_during_a_long_answer_causes_no_error(
    app: FastAPI, caller: httpx.AsyncClient, resources: Resources
) -> None:
    """If a client that does not read its response disconnects, the request counts as 499; its memory is released."""
    wanted = message("tools/call", {"name": "evaluate", "arguments": {"expression": "10^49999"}})
    request = caller.build_request("POST", "/mcp", json=wanted)
    begun = asyncio.Event()
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        else:
            begun.set()
            await asyncio.get_running_loop().create_future()  # the client reads nothing

    await app(scope_of(app, request), until_gone(request, begun), send)
    assert statuses == [200]
    labels = {"route": "/mcp", "method": "POST", "status": "499"}
    assert resources.metrics.registry.get_sample_value("http_requests_total", labels) == 1
    await until(lambda: resources.response_memory.taken == 0, "the memory is released")


@pytest.fixture
def without_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the MCP SDK appear missing."""
    find = importlib.util.find_spec
    router._sdk.cache_clear()
    monkeypatch.setattr(router, "find_spec", lambda name: None if name == "mcp" else find(name))


@pytest.mark.usefixtures("without_sdk")
async def test_without_the_extra_it_is_404(client: httpx.AsyncClient) -> None:
    """Without the extra ``mcp``, POST /mcp gets 404, and the message names the package to install."""
    answer = await call(client)
    assert (answer.status_code, answer.json()["type"]) == (404, "/docs/problems#not-found")
    assert "pycalc-service[mcp]" in answer.json()["detail"]


async def test_a_failed_import_of_the_sdk_is_tried_again(
    caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the SDK can't be imported, the message gets 500 without the reason, and the next message imports it again."""
    router._sdk.cache_clear()
    with monkeypatch.context() as broken:
        broken.setattr(router, "import_module", lambda name: importlib.import_module(f"{name}.missing"))
        answer = await call(caller)
    assert (answer.status_code, answer.json()["type"]) == (500, "/docs/problems#internal-error")
    assert "missing" not in answer.text
    assert (await call(caller)).json()["result"]["isError"] is False
