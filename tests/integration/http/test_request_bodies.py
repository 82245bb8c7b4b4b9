"""Request bodies that are too large, wrongly framed or incomplete: refused early, with at most one log line."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from pycalc.routers.http.connection import MAX_BODY_BYTES
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, new_person, registration
from tests.harness.in_process import changed
from tests.harness.metrics import metric
from tests.harness.raw import Reply, exchange
from tests.harness.servers import Server, pycalc
from tests.harness.waiting import wait_until

JSON = {"Content-Type": "application/json"}
MEBIBYTE = 1024 * 1024
# Routes that read a body without authentication.
OPEN = ["/login", "/register", "/token/refresh"]
BROKEN = {
    "a negative chunk size": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk size with 0x": b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a plus": b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n",
    "an empty chunk size": b"Transfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than its size": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "a negative length": b"Content-Length: -1\r\n\r\n{}",
    "a length with a plus": b"Content-Length: +2\r\n\r\n{}",
    "a length beyond 64 bits": b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    "a length that is no number": b"Content-Length: two\r\n\r\n{}",
    "an unknown coding": b"Transfer-Encoding: gzip\r\n\r\n{}",
}
UNFINISHED = {
    "no last chunk": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "half a chunk": b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}",
    "less than the length": b"Content-Length: 50\r\n\r\n{}",
}


@pytest.fixture(scope="module", params=["serve", "uvicorn"])
def logged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """Run a service with Granian and with Uvicorn in turn; return it with its log."""
    log = tmp_path_factory.mktemp("logs") / "log"
    with pycalc(request.param, log=log) as server:
        yield server, log


def head(path: str, token: str = "", name: str = "") -> bytes:
    """Return the beginning of a POST without its framing fields; ``name`` becomes the request id in the log."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    named = f"X-Request-ID: {name}\r\n" if name else ""
    start = f"POST {path} HTTP/1.1\r\nHost: pycalc\r\nContent-Type: application/json\r\n"
    return f"{start}{authorization}{named}".encode()


def status_of(port: int, request: bytes, *, end: bool = False) -> int | None:
    """Send bytes, then end the stream if ``end``; return the response's status, or None without a response."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionError):
            while b"\r\n" not in answer and (part := connection.recv(65536)):
                answer += part
    return int(answer.split()[1]) if answer else None


def abandon(port: int, request: bytes) -> None:
    """Send bytes, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture(scope="module")
def token(logged: tuple[Server, Path]) -> str:
    """Register an account, log in, and return the access token."""
    with httpx.Client(base_url=logged[0].url) as client:
        return new_person(client).token


def records(log: Path, start: int) -> list[dict[str, Any]]:
    """Return the log's records from byte ``start`` on, except those that count suppressed records.

    If the log contains a traceback, this raises an error, because a traceback is not JSON.
    """
    written = [json.loads(line) for line in log.read_bytes()[start:].splitlines()]
    return [record for record in written if record["event"] != "identical records suppressed"]


@pytest.mark.parametrize("path", [*OPEN, "/batch", "/calculations", "/me/keys"])
@pytest.mark.parametrize("framing", BROKEN.values(), ids=BROKEN.keys())
def test_broken_framing_is_400(logged: tuple[Server, Path], token: str, path: str, framing: bytes) -> None:
    """Wrong framing gets 400 from the parser or the service, with at most one log line, and the service still works."""
    server, log = logged
    start, name = log.stat().st_size, new_name()
    assert status_of(server.port, head(path, token, name) + framing) == 400
    assert [record["request_id"] for record in records(log, start)].count(name) <= 1
    assert exchange(server.port, "GET", "/healthz").status == 200


@pytest.mark.parametrize("path", [*OPEN, "/batch", "/calculations", "/me/keys"])
@pytest.mark.parametrize("framing", UNFINISHED.values(), ids=UNFINISHED.keys())
def test_a_client_that_hangs_up_in_a_body_is_a_line_in_the_log(
    logged: tuple[Server, Path], token: str, path: str, framing: bytes
) -> None:
    """An incomplete body counts as 499, with at most one log line.

    If the client has only ended its own stream and still reads, it gets 400 from Granian and nothing from Uvicorn.
    """
    server, log = logged
    with httpx.Client(base_url=server.url) as client:

        def gone() -> float:
            return metric(client, "http_requests_total", route=path, status="499")

        before, start, names = gone(), log.stat().st_size, (new_name(), new_name())
        assert status_of(server.port, head(path, token, names[0]) + framing, end=True) in ANSWERED[server.name]
        abandon(server.port, head(path, token, names[1]) + framing)
        wait_until(lambda: gone() >= before + 2, "both are counted")
        assert metric(client, "http_requests_total", status="500") == 0
    told = [record for record in records(log, start) if record["request_id"] in names]
    assert [record["event"] for record in told] == ["request body ended early"] * len(told)
    assert len(told) <= 2


# Statuses for a client that ends its stream too early but still reads; Uvicorn takes that for a disconnect.
ANSWERED = {"pycalc, serve": (400,), "pycalc, uvicorn": (None,)}


def test_a_client_that_hangs_up_in_its_head_is_nothing(logged: tuple[Server, Path]) -> None:
    """A client that disconnects before the end of its request header is not counted, and leaves no log line."""
    server, log = logged
    with httpx.Client(base_url=server.url) as client:

        def counted() -> float:
            return sum(metric(client, "http_requests_total", route=route) for route in ("/login", "(none)"))

        before, start = counted(), log.stat().st_size
        for request in (b"", b"P", head("/login"), head("/login") + b"Content-Length: 5\r"):
            abandon(server.port, request)
        assert exchange(server.port, "GET", "/healthz").status == 200
        assert (counted(), records(log, start)) == (before, [])


@pytest.mark.parametrize("target", ["/fibonacci/2000000", "/secure-history", "/events", "/docs"])
def test_a_client_that_hangs_up_during_the_answer_is_nothing(
    logged: tuple[Server, Path], token: str, target: str
) -> None:
    """A client that disconnects during the response leaves no log line, and its event stream ends."""
    server, log = logged
    start = log.stat().st_size
    request = f"GET {target} HTTP/1.1\r\nHost: pycalc\r\nAccept: text/csv\r\nAuthorization: Bearer {token}\r\n\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(request.encode())
            assert connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with httpx.Client(base_url=server.url) as client:
        wait_until(lambda: metric(client, "pycalc_event_subscribers") == 0, "all event streams have ended")
    assert records(log, start) == []


def refused(server: Server, path: str, body: bytes, headers: dict[str, str], *, chunked: bool) -> Reply:
    """Post a body, and return the response."""
    return exchange(server.port, "POST", path, {**JSON, **headers}, body, chunked=chunked)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", OPEN)
def test_a_body_over_8_kib_is_413_and_tells_the_limit(server: Server, path: str, *, chunked: bool) -> None:
    """A body above 8 KiB gets 413 with the limit, with or without Content-Length; one of 8 KiB is read."""
    body = b"{}".ljust(MAX_BODY_BYTES)
    assert refused(server, path, body, {}, chunked=chunked).status == 422
    reply = refused(server, path, body + b" ", {}, chunked=chunked)
    assert (reply.status, reply.headers["Content-Type"]) == (413, "application/problem+json")
    problem = reply.json()
    assert (problem["type"], problem["limit"]) == ("/docs/problems#payload-too-large", 8192)
    assert "8,192 bytes" in problem["detail"]


@pytest.mark.parametrize(
    ("path", "body", "limit", "status"),
    [
        ("/batch", b'{"operations":[{"operation":"fibonacci","input":{"n":10}}]}', MEBIBYTE, 200),
        ("/calculations", b'{"operation":"fibonacci","input":{"n":10}}', 2_065_536, 201),
    ],
)
def test_bodies_of_calculations_may_be_longer(server: Server, path: str, body: bytes, limit: int, status: int) -> None:
    """Batches and single calculations have limits of their own, above 8 KiB.

    A body of exactly the limit is accepted, and the refusal of a longer one states the limit.
    """
    with httpx.Client(base_url=server.url) as client:
        headers = new_person(client).headers
    assert refused(server, path, body.ljust(limit), headers, chunked=False).status == status
    assert refused(server, path, body.ljust(limit + 1), headers, chunked=False).json()["limit"] == limit


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings with one calculation an hour, for the application in this process."""
    return changed(settings, rate_limit="1/hour")


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/batch", "/calculations"])
async def test_a_long_body_is_authenticated_and_limited_before_it_is_read(client: httpx.AsyncClient, path: str) -> None:
    """Without a token, or above the rate limit, a batch or calculation is refused before its body is read."""
    taken = 0

    async def body() -> Any:
        nonlocal taken
        taken += 1
        yield b"{"

    assert (await client.post(path, content=body(), headers=JSON)).status_code == 401
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    authorized = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await client.get("/fibonacci/10", headers=authorized)).status_code == 200
    answer = await client.post(path, content=body(), headers={**JSON, **authorized})
    assert (answer.status_code, answer.headers["RateLimit"]) == (429, '"hour";r=0;t=3600')
    assert taken == 0


@pytest.mark.parametrize("path", OPEN)
def test_an_answer_lists_20_errors_and_says_how_many_there_are(server: Server, path: str) -> None:
    """For 800 unknown fields, the response lists 20 errors and says how many there are."""
    body = json.dumps({str(number): 0 for number in range(800)}).encode()
    reply = refused(server, path, body, {}, chunked=False)
    assert reply.status == 422
    assert len(reply.json()["errors"]) == 20
    assert "The first 20 of 80" in reply.json()["detail"]
    assert len(reply.body) < 2_500


def test_a_batch_lists_20_errors(server: Server) -> None:
    """For a batch of 1,000 invalid items, the response lists 20 errors and says how many there are."""
    with httpx.Client(base_url=server.url) as client:
        headers = new_person(client).headers
    reply = refused(server, "/batch", json.dumps({"operations": [0] * 1_000}).encode(), headers, chunked=False)
    assert len(reply.json()["errors"]) == 20
    assert "The first 20 of 1,000 errors are listed." in reply.json()["detail"]


def test_what_an_answer_repeats_of_a_request_is_bounded(server: Server) -> None:
    """Long paths, parameters and field names are cut in responses."""
    with httpx.Client(base_url=server.url) as client:
        person = new_person(client)
    long = "%C3%A9" * 5_000
    replies = [
        exchange(server.port, "GET", f"/{long}"),
        exchange(server.port, "GET", f"/fibonacci/1?{long}=1", person.headers),
        exchange(server.port, "GET", f"/secure-history?{long}=1", person.headers),
        exchange(server.port, "GET", "/events", {**person.headers, "Last-Event-ID": "x" * 30_000}),
        refused(server, "/login", json.dumps({"x" * 8_000: 1}).encode(), {}, chunked=False),
        refused(server, "/register", json.dumps(registration("x" * 3_500)).encode(), {}, chunked=False),
    ]
    assert [reply.status for reply in replies] == [404, 422, 422, 422, 422, 422]
    assert all(len(reply.body) < 10_000 for reply in replies)
