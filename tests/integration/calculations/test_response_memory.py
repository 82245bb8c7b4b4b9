"""Long responses: their memory is limited and shared, and clients that do not read are disconnected."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Scope

from pycalc.resources.wiring import Resources
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, new_person, registration
from tests.harness.metrics import metric
from tests.harness.servers import Server, pycalc
from tests.harness.waiting import until, wait_until

MEMORY = 4_000_000
LONG = "/fibonacci/6000000"
# The number of digits of F(6·10^6).
DIGITS = 1_253_926


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings with memory for three long responses of 1.25 MB; a single user may get two at a time."""
    return settings.model_copy(update={"response_memory": MEMORY})


async def logged_in(client: httpx.AsyncClient) -> dict[str, str]:
    """Register an account, log in, and return the Authorization header of the session."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


def refused(resources: Resources) -> float | None:
    """Return how many responses were refused because no memory was left."""
    return resources.metrics.registry.get_sample_value("pycalc_requests_refused_total", {"reason": "memory"})


@pytest.mark.anyio
class TestBudget:
    """The memory budget within one process."""

    async def test_a_long_result_counts_from_before_it_is_computed(
        self, client: httpx.AsyncClient, resources: Resources
    ) -> None:
        """A long result counts towards the response memory from before its computation until it is sent."""
        headers, memory = await logged_in(client), resources.response_memory
        asking = asyncio.create_task(client.get(LONG, headers=headers))
        await until(lambda: memory.taken > 0, "the result is counted")
        assert resources.metrics.registry.get_sample_value("pycalc_response_bytes") == pytest.approx(DIGITS, abs=2)
        assert not asking.done()
        assert (await asking).status_code == 200
        assert memory.taken == 0

    async def test_over_the_bound_it_is_refused_before_it_is_computed(
        self, client: httpx.AsyncClient, resources: Resources
    ) -> None:
        """A user who holds half of the response memory gets 503 for a long result.

        The user's short results, which take no response memory, and other users' long results are sent.
        """
        headers, others = await logged_in(client), await logged_in(client)
        assert (await client.get(LONG, headers=headers)).status_code == 200
        user = resources.authenticator.token_cache.user_of(headers["Authorization"].removeprefix("Bearer ").encode())
        held = resources.response_memory.acquire(user, MEMORY // 2)
        for path in (LONG, "/fibonacci/6000001"):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (503, "/docs/problems#overloaded")
            assert answer.headers["Retry-After"] == "5"
        assert refused(resources) == 2
        assert (await client.get("/fibonacci/1000", headers=headers)).status_code == 200
        assert (await client.get(LONG, headers=others)).json()["cached"] is True
        held.release()
        assert (await client.get("/fibonacci/6000001", headers=headers)).status_code == 200

    async def test_it_bounds_calculations_as_resources(self, client: httpx.AsyncClient, resources: Resources) -> None:
        """While a user holds half of the response memory, posting a calculation or reading its digits gets 503.

        Afterwards, no memory stays reserved.
        """
        client.headers.update(await logged_in(client))
        body = {"operation": "fibonacci", "input": {"n": 6_000_000}}
        digits = (await client.post("/calculations", json=body)).headers["Location"] + "/digits"
        token = client.headers["Authorization"].removeprefix("Bearer ").encode()
        user = resources.authenticator.token_cache.user_of(token)
        with resources.response_memory.acquire(user, MEMORY // 2):
            assert (await client.post("/calculations", json=body)).status_code == 503
            assert (await client.get(digits)).status_code == 503
        assert refused(resources) == 2
        # F(n) has floor(n*log10(phi) - log10(5)/2) + 1 digits.
        assert len((await client.get(digits)).content) == 1_253_926
        assert resources.response_memory.taken == 0

    async def test_results_of_a_batch_count_one_by_one(self, client: httpx.AsyncClient, resources: Resources) -> None:
        """Each long result of a batch takes response memory; a result for which no memory is left becomes a problem."""
        powers = [{"operation": "pow", "input": {"x": "10", "y": 900_000 + n}} for n in range(4)]
        short = {"operation": "fibonacci", "input": {"n": 10}}
        answer = await client.post("/batch", headers=await logged_in(client), json={"operations": [*powers, short]})
        kinds = [item.get("type", "result") for item in answer.json()["results"]]
        assert kinds == ["result", "result", *["/docs/problems#overloaded"] * 2, "result"]
        assert refused(resources) == 2
        assert resources.response_memory.taken == 0

    async def test_a_batch_that_fails_is_counted_out(
        self, client: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If a batch fails with an unexpected error, its memory is released."""

        async def record(_: object) -> None:
            raise LookupError

        monkeypatch.setattr(resources.calculator.recorder, "record", record)
        powers = [{"operation": "pow", "input": {"x": "10", "y": 900_000}}]
        answer = await client.post("/batch", headers=await logged_in(client), json={"operations": powers})
        assert answer.status_code == 500
        assert resources.response_memory.taken == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path", ["/fibonacci/{n}", "/calculations", "/calculations/{calculation_id}/digits", "/batch", "/secure-history"]
)
async def test_a_client_that_leaves_during_a_long_response_is_counted_as_gone(
    app: FastAPI, client: httpx.AsyncClient, resources: Resources, path: str
) -> None:
    """If a client disconnects while a long response is sent, the request counts as 499."""
    headers = {**await logged_in(client), "Accept": "text/csv, */*;q=0.5"}  # the history is exported as CSV
    calculation = {"operation": "fibonacci", "input": {"n": 3_000_000}}
    made = await client.post("/calculations", json=calculation, headers=headers)
    url = path.format(n=3_000_000, calculation_id=made.json()["id"])
    body = {"/calculations": calculation, "/batch": {"operations": [calculation] * 2}}.get(path)
    request = client.build_request("GET" if body is None else "POST", url, json=body, headers=headers)
    begun = asyncio.Event()
    unread: list[Message] = [{"type": "http.request", "body": request.content}]

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("more_body"):
            begun.set()
            await asyncio.Event().wait()

    def counted() -> float | None:
        labels = {"route": path, "method": request.method, "status": "499"}
        return resources.metrics.registry.get_sample_value("http_requests_total", labels)

    scope: Scope = {
        "type": "http",
        "method": request.method,
        "path": url,
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "state": app.state.lifespan,
    }
    await app(scope, receive, send)
    assert counted() == 1
    assert resources.response_memory.taken == 0


@pytest.fixture(scope="module")
def hasty(data: Path) -> Iterator[Server]:
    """Run a service that disconnects clients that read less than 10 MB a second, after a second of grace."""
    with pycalc(data=data, response_seconds="1", response_rate="10000000") as running:
        yield running


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/fibonacci/40000000", None, 200),
        ("/fibonacci/40000000?format=text", None, 200),
        (
            "/batch",
            {"operations": [{"operation": "pow", "input": {"x": "10", "y": 900_000 + n}} for n in range(9)]},
            200,
        ),
        ("/calculations", {"operation": "fibonacci", "input": {"n": 40_000_000}}, 201),
    ],
    ids=["JSON", "text", "batch", "posted"],
)
def test_a_reader_that_is_too_slow_is_cut_off(
    hasty: Server, path: str, body: dict[str, object] | None, status: int
) -> None:
    """A client that reads too slowly is disconnected and counted as 499, and its memory is released."""
    method, content = ("GET", "") if body is None else ("POST", json.dumps(body))
    with httpx.Client(base_url=hasty.url) as client, closing(socket.socket()) as slow:
        token = new_person(client).headers["Authorization"]
        before = metric(client, "pycalc_responses_cut_total")
        gone = metric(client, "http_requests_total", status="499")
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        slow.connect(("127.0.0.1", hasty.port))
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        head += "Content-Type: application/json\r\n"
        slow.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        slow.settimeout(20)
        start = slow.recv(1_000)
        assert start.startswith(b"HTTP/1.1 %d" % status)
        length = int(start.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert metric(client, "pycalc_response_bytes") > 0
        taken = 0

        def cut() -> bool:
            nonlocal taken
            with suppress(ConnectionError):
                taken += len(slow.recv(4_096))
            return metric(client, "pycalc_responses_cut_total") == before + 1

        wait_until(cut, "it is cut off and counted", 60)
        with suppress(ConnectionError):
            while part := slow.recv(2**20):
                taken += len(part)
        assert taken < length
        wait_until(lambda: metric(client, "pycalc_response_bytes") == 0, "its memory is free")
        ended = "its status is counted"
        wait_until(lambda: metric(client, "http_requests_total", status="499") == gone + 1, ended)
