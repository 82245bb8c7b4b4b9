"""Stopping the service: requests in progress are answered, and worker processes end with the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from math import inf
from pathlib import Path

import httpx
import pytest

from drills.support.connection import Answer, Connection, Unanswered, request
from pycalc.models.auth import Principal, Role
from pycalc.resources.wiring import Resources
from pycalc.routers.http.middleware import Application
from pycalc.server.granian_worker import bind
from pycalc.server.serve import listen
from tests.harness.accounts import PASSWORD, new_name, new_person, registration
from tests.harness.metrics import metric
from tests.harness.processes import alive, children, cpu_seconds, stopped
from tests.harness.servers import NEW_INTERPRETER, Server, pycalc
from tests.harness.waiting import DEADLINE_SECONDS, until, wait_until

# A result of 12 million digits, which takes a worker more than a second.
LONG = "/fibonacci/60000000"
# Code that makes the interpreter's regular shutdown abort.
_FAREWELL = """
import atexit, os, sys
if "serve" in sys.orig_argv:
    atexit.register(os.abort)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Run a service that the test may end."""
    with pycalc(data=tmp_path, compute_workers="1") as running:
        yield running


@pytest.fixture
def headers(server: Server) -> dict[str, str]:
    """Register an account, log in, and return the header of the session."""
    with httpx.Client(base_url=server.url) as client:
        return new_person(client).headers


@asynccontextmanager
async def computing(server: Server, headers: dict[str, str]) -> AsyncIterator[asyncio.Task[Answer]]:
    """Begin a computation, and keep its worker from finishing during the ``with`` block."""
    connection = await Connection.open(server.port)
    with httpx.Client(base_url=server.url) as client:
        await connection.ask(request("/factorial/20000", headers))
        (worker,) = children(server.pid)
        with stopped(worker):
            asking = asyncio.create_task(connection.ask(request("/fibonacci/3000000", headers)))
            asking.add_done_callback(lambda _: connection.close())
            await until(lambda: metric(client, "pycalc_compute_running") == 1, "the computation runs")
            yield asking


async def drained(connection: Connection) -> Answer:
    """Send requests until a response closes the connection; return that response."""
    last = await connection.ask(request("/healthz", {}))
    while connection.usable:
        last = await connection.ask(request("/healthz", {}))
    return last


async def connected(port: int) -> Connection:
    """Connect as soon as the server listens."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with suppress(OSError):
                return await Connection.open(port)
            await asyncio.sleep(0)


def at_work(pid: int, before: float = 0.0) -> bool:
    """Return whether a process has computed: it has used more than ``before`` + 0.5 s of processor time."""
    with suppress(FileNotFoundError):
        return cpu_seconds(pid) > before + 0.5
    return False


def test_workers_end_with_a_service_that_is_killed(server: Server, headers: dict[str, str]) -> None:
    """If the service is killed, its workers end too, even during a computation."""

    async def kill() -> list[int]:
        connection = await Connection.open(server.port)
        asking = asyncio.create_task(connection.ask(request(LONG, {**headers, "Accept": "text/plain"})))
        await until(lambda: any(map(at_work, children(server.pid))), "a worker computes")
        workers = children(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        with suppress(Unanswered):
            await asking
        return workers

    workers = asyncio.run(kill())
    server.process.wait()
    wait_until(lambda: not any(map(alive, workers)), "the workers have ended")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="from Python 3.14 on, threads do not abort the shutdown")
def test_the_interpreters_shutdown_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM ends the service with status 0, and the interpreter's own shutdown is skipped."""
    (tmp_path / "sitecustomize.py").write_text(_FAREWELL)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), *sys.path)))
    with pycalc(prefix=NEW_INTERPRETER) as server:
        server.process.terminate()
        assert server.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_lets_a_computation_finish(
    server: Server, headers: dict[str, str], number: signal.Signals
) -> None:
    """If all processes get a signal, as by Ctrl-C, a computation is still answered, and the exit status is 0."""

    async def stop() -> Answer:
        async with computing(server, headers) as asking:
            connection = await Connection.open(server.port)
            os.killpg(server.pid, number)
            await drained(connection)
        return await asking

    assert asyncio.run(stop()).status == 200
    assert server.process.wait(DEADLINE_SECONDS) == 0


def test_while_it_drains_answers_end_their_connections_and_nobody_connects(
    server: Server, headers: dict[str, str]
) -> None:
    """While the service drains, a persistent connection is served until a response says ``Connection: close``.

    New connections are refused.
    """

    async def stop() -> tuple[Answer, Answer]:
        async with computing(server, headers) as asking:
            connection = await Connection.open(server.port)
            last = await connection.ask(request("/healthz", {}))
            assert last.field("connection") is None
            server.process.send_signal(signal.SIGTERM)
            last = await drained(connection)
            with pytest.raises(OSError):  # noqa: PT011  # refused, or without a response
                await asyncio.wait_for(Connection.open(server.port), 1)
        return last, await asking

    last, computed = asyncio.run(stop())
    assert (last.status, last.field("connection")) == (200, "close")
    assert computed.status == 200
    assert server.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.anyio
async def test_a_refusal_while_it_drains_ends_its_connection_too(app: Application, resources: Resources) -> None:
    """While draining, even a refusal says ``Connection: close``, and event feeds end."""

    async def identify() -> Principal:
        return Principal(bytes(16), "ada", Role.USER, bytes(16), inf)

    slots = resources.calculator.slots
    held = [slots.acquire(number) for number in range(slots.total)]
    stop = asyncio.Event()
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        listening = asyncio.create_task(listen(listener, app, app.state.lifespan, stop, shared=False))
        connection = await connected(port)
        before = await connection.ask(request("/fibonacci/10", {}))
        feed = resources.feed.subscribe(identify, None)
        await anext(feed)
        stop.set()
        assert [event async for event in feed] == []
        assert len([event async for event in resources.feed.subscribe(identify, None)]) == 1  # the first event
        last = await connection.ask(request("/fibonacci/10", {}))
        await listening
    assert (before.status, before.field("connection")) == (503, None)
    assert (last.status, last.field("connection")) == (503, "close")
    assert len(held) == slots.taken


@pytest.mark.anyio
async def test_a_computation_that_would_take_too_long_is_refused_at_the_end(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    """While draining, computations that would take too long get 503 and are not recorded; short ones are answered."""
    name = new_name()
    await client.post("/register", json=registration(name))
    session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    client.headers["Accept"] = "text/plain"
    before = {pid: cpu_seconds(pid) for pid in children(os.getpid())}  # other tests' servers and idle workers
    asking = [asyncio.create_task(client.get(f"/fibonacci/{119_000_000 + n}")) for n in range(2)]
    value = resources.metrics.registry.get_sample_value
    await until(lambda: (value("pycalc_compute_running"), value("pycalc_compute_waiting")) == (1, 1), "both are there")
    await until(lambda: any(at_work(pid, before.get(pid, 0.0)) for pid in children(os.getpid())), "a worker computes")
    resources.computer.abandon()
    for answer in [*(await asyncio.gather(*asking)), await client.get("/fibonacci/100000000")]:
        assert (answer.status_code, json.loads(answer.content)["type"]) == (503, "/docs/problems#unavailable")
        assert answer.headers["Retry-After"] == "1"
    assert (await client.get("/fibonacci/10")).text == "55"
    history = await client.get("/secure-history", headers={"Accept": "application/json"})
    assert [item["input"]["n"] for item in history.json()["items"]] == [10]
