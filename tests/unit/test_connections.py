"""The connection guard: it ends an address's connections above a fair share, and those of slow readers."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from pycalc.observability.metrics import Metrics
from pycalc.server import granian_worker
from pycalc.server.connections import ClientSockets, ConnectionGuard
from pycalc.server.granian_worker import max_connections
from pycalc.services.limits.client_address import ClientAddresses
from pycalc.services.limits.concurrency import ReadingSpeed

TOTAL = 8


class Server:
    """A listening socket with its guard, a clock that the test sets, and the clients that have connected."""

    def __init__(self, stack: ExitStack, proxies: tuple[str, ...] = (), **kernel: Any) -> None:
        """Set the trusted proxies; ``kernel`` holds further arguments of ClientSockets."""
        self._stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.now = 0.0
        self.metrics = Metrics()
        addresses, reading_speed = ClientAddresses(proxies), ReadingSpeed(seconds=10, rate=1_000)
        sockets = ClientSockets(self.listener, **kernel)
        self.guard = ConnectionGuard(sockets, TOTAL, addresses, reading_speed, self.metrics, clock=lambda: self.now)

    def connect(self, address: str = "127.0.0.1", *, buffer: int = 0) -> tuple[socket.socket, socket.socket]:
        """Connect a client from an address; return its socket, and the server's socket of the connection."""
        client = self._stack.enter_context(socket.socket())
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.bind((address, 0))
        client.connect(self.listener.getsockname())
        connection, _ = self.listener.accept()
        self._stack.enter_context(connection)
        client.settimeout(10)
        return client, connection

    def cut(self, reason: str) -> float | None:
        """Return how many connections were ended for this reason."""
        return self.metrics.registry.get_sample_value("pycalc_connections_cut_total", {"reason": reason})


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return a stack that closes everything a test has opened."""
    with ExitStack() as opened:
        yield opened


def is_open(client: socket.socket, connection: socket.socket) -> bool:
    """Return whether a byte from the server reaches the client."""
    with suppress(OSError):
        connection.send(b"x")
    return client.recv(1) == b"x"


def test_an_address_gets_half_of_the_connections(stack: ExitStack) -> None:
    """If an address holds more than half of the permitted connections, its newest ones are ended, and no others."""
    server = Server(stack)
    greedy = [server.connect() for _ in range(TOTAL - 1)]
    other = server.connect("127.0.0.2")
    server.guard.check()
    assert [is_open(*pair) for pair in greedy] == [True] * 4 + [False] * 3
    assert is_open(*other)
    assert server.cut("address") == 3
    assert server.metrics.registry.get_sample_value("pycalc_connections") == TOTAL


def test_half_full_no_connection_is_ended(stack: ExitStack) -> None:
    """While half of the permitted connections are free, no connection is ended."""
    server = Server(stack)
    pairs = [server.connect() for _ in range(TOTAL // 2)]
    server.guard.check()
    assert all(is_open(*pair) for pair in pairs)


def test_a_trusted_proxy_may_have_them_all(stack: ExitStack) -> None:
    """A trusted proxy may hold all connections, because many clients use it."""
    server = Server(stack, ("127.0.0.1",))
    pairs = [server.connect() for _ in range(TOTAL)]
    server.guard.check()
    assert all(is_open(*pair) for pair in pairs)


def test_other_descriptors_are_left_alone(stack: ExitStack) -> None:
    """The guard ignores Unix sockets, connections to other ports, and the listener itself."""
    server = Server(stack)
    ours, theirs = socket.socketpair()
    stack.enter_context(ours)
    stack.enter_context(theirs)
    elsewhere = Server(stack)
    pairs = [elsewhere.connect() for _ in range(TOTAL)]
    server.guard.check()
    assert server.metrics.registry.get_sample_value("pycalc_connections") == 0
    assert all(is_open(*pair) for pair in [*pairs, (ours, theirs), server.connect()])


def fill(connection: socket.socket) -> None:
    """Send until the kernel's buffers are full."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection.send(bytes(65_536))


def test_a_client_that_takes_nothing_is_ended_when_it_is_too_late(stack: ExitStack) -> None:
    """If a client reads nothing for 20 s, twice the application's own limit, its connection is ended.

    Connections without data to be read stay.
    """
    server = Server(stack)
    _, connection = server.connect(buffer=4_096)
    idle = server.connect()
    fill(connection)
    for server.now in (0, 10, 19.9):
        server.guard.check()
    assert server.cut("slow") is None
    server.now = 20
    server.guard.check()
    assert server.cut("slow") == 1
    with pytest.raises(OSError, match="Broken pipe"):
        connection.send(b"x")
    assert is_open(*idle)


def test_a_slow_but_steady_reader_is_kept(stack: ExitStack) -> None:
    """A client that reads some hundred kilobytes in twenty seconds is kept, although more data is waiting."""
    server = Server(stack)
    client, connection = server.connect(buffer=65_536)
    for server.now in range(0, 100, 10):
        fill(connection)
        server.guard.check()
        for _ in range(10):
            client.recv(65_536)
    assert server.cut("slow") is None


def test_a_kernel_without_statistics_is_logged_once(stack: ExitStack) -> None:
    """If the kernel does not report what clients have read, a warning is logged once.

    Connections are still shared between addresses; only slow readers are left to the HTTP server.
    """
    server = Server(stack, info_bytes=1_000)
    greedy = [server.connect() for _ in range(TOTAL - 1)]
    server.connect("127.0.0.2")
    with capture_logs() as records:
        server.guard.check()
        server.guard.check()
    assert [is_open(*pair) for pair in greedy] == [True] * 4 + [False] * 3
    assert [record["event"].partition(":")[0] for record in records] == [
        "the kernel does not report what clients have read"
    ]


@pytest.mark.anyio
async def test_a_check_that_fails_is_logged_and_repeated(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error in a check, the guard logs the error and goes on checking."""
    server = Server(stack)
    sockets, speed = ClientSockets(server.listener), ReadingSpeed(seconds=10, rate=1_000)
    guard = ConnectionGuard(sockets, TOTAL, ClientAddresses(()), speed, server.metrics, check_seconds=0.0)
    failures, checked, loop = [RuntimeError("a bug")], asyncio.Event(), asyncio.get_running_loop()

    def check() -> None:
        if failures:
            raise failures.pop()
        loop.call_soon_threadsafe(checked.set)

    monkeypatch.setattr(guard, "check", check)
    with capture_logs() as logs:
        watching = asyncio.create_task(guard.watch())
        async with asyncio.timeout(10):
            await checked.wait()
        watching.cancel()
    assert [entry["event"] for entry in logs] == ["the connections could not be checked"]


@pytest.mark.parametrize(("descriptors", "most"), [(1_000, 500), (1_000_000, 8_192), (resource.RLIM_INFINITY, 8_192)])
def test_connections_take_half_of_the_descriptors(descriptors: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process has at most 8,192 connections, and at most half as many as its limit of descriptors, if it has one."""
    monkeypatch.setattr(granian_worker, "memory", lambda: 64 << 30)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert max_connections() == most


@pytest.mark.parametrize(("gibibytes", "most"), [(0.5, 2_048), (2, 2_048), (3, 3_072), (8, 8_192), (64, 8_192)])
def test_a_connection_needs_a_mebibyte_of_memory(gibibytes: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may have a connection for each MiB of memory, from 2,048 to 8,192, because each needs buffers."""
    monkeypatch.setattr(granian_worker, "memory", lambda: int(gibibytes * 1024**3))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_000_000, 1_000_000))
    assert max_connections() == most
