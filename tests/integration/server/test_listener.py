"""The HTTP server on a socket: it serves an application, and refuses requests even while the event loop is blocked."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from pycalc.server.granian_worker import HttpServer, bind
from pycalc.urls import authority
from tests.harness.raw import Reply, exchange
from tests.harness.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.anyio


last_path = ContextVar("last_path", default="none")


async def application(scope: Scope, _: Receive, send: Send) -> None:
    """Answer with the greeting in the lifespan's state, and set ``last_path`` to the path.

    On /context, answer with the earlier value of ``last_path``. On /fault, raise an error.
    """
    before = last_path.get()
    last_path.set(scope["path"])
    if scope["path"] == "/fault":
        raise RuntimeError("a fault")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"answer")]})
    answer = before if scope["path"] == "/context" else str(scope["state"]["greeting"])
    await send({"type": "http.response.body", "body": answer.encode()})


def refusal(scope: Scope) -> tuple[Message, Message] | None:
    """Return a refusal for the path /refused, and None for others."""
    if scope["path"] != "/refused":
        return None
    start: Message = {"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"1")]}
    return start, {"type": "http.response.body", "body": b"no"}


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve during the ``with`` block; yield the port."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = HttpServer(listener, application, refusal, {"greeting": "hello"})
    task = asyncio.create_task(server.serve())
    await asyncio.sleep(0)
    try:
        yield port
    finally:
        server.stop()
        await task
        listener.close()


async def get(port: int, path: str) -> Reply:
    """Send a GET from a thread, so that the event loop can serve it."""
    return await asyncio.to_thread(exchange, port, "GET", path)


async def test_an_application_is_served_with_its_state() -> None:
    """The scope has the lifespan's state, the same for every request."""
    async with serving() as port:
        for _ in range(2):
            reply = await get(port, "/")
            assert (reply.status, reply.headers["x-kind"], reply.body) == (200, "answer", b"hello")


async def test_each_request_has_its_own_context() -> None:
    """A context variable that one request sets before it first waits is not seen by the next request."""
    async with serving() as port:
        assert [(await get(port, "/context")).body for _ in range(2)] == [b"none", b"none"]


async def test_an_application_that_raises_is_a_500_and_no_more() -> None:
    """If the application raises, the answer is 500, and the next request is answered."""
    async with serving() as port:
        assert (await get(port, "/fault")).status == 500
        assert (await get(port, "/")).status == 200


async def test_a_refusal_does_not_wait_for_the_event_loop() -> None:
    """While the event loop is blocked, a refused request is answered, and an admitted one waits."""
    async with serving() as port:
        with ThreadPoolExecutor(2) as clients:
            waiting = clients.submit(exchange, port, "GET", "/")
            refused = clients.submit(exchange, port, "GET", "/refused").result(DEADLINE_SECONDS)  # block the event loop
            assert not waiting.done()
            assert (refused.status, refused.body) == (503, b"no")
            assert (await asyncio.wrap_future(waiting)).status == 200


async def test_a_port_that_is_taken_is_explained() -> None:
    """If the port is taken, the error has address and reason. The socket that has the port still takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"can't listen on 127.0.0.1:{port}: Address already in use"):
            bind("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as connection:
            accepted, address = taken.accept()
            accepted.close()
            assert address == connection.getsockname()


async def test_a_kernel_without_an_option_serves_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel lacks TCP options, as on gVisor, each missing option is logged, and the port is opened."""

    class Sandboxed(socket.socket):
        def setsockopt(self, level: int, *option: Any) -> None:
            if level == socket.IPPROTO_TCP:
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")
            super().setsockopt(level, *option)

    monkeypatch.setattr(socket, "socket", Sandboxed)
    with capture_logs() as records:
        bind("127.0.0.1", 0).close()
    assert [record["option"] for record in records] == ["TCP_NODELAY", "TCP_USER_TIMEOUT", "TCP_NOTSENT_LOWAT"]


def test_an_ipv6_address_stands_in_brackets() -> None:
    """An IPv6 address is written in brackets (RFC 3986 §3.2.2), also in the error about a taken port."""
    assert authority("::1", 8080) == "[::1]:8080"
    assert authority("127.0.0.1", 8080) == "127.0.0.1:8080"
    with bind("::1", 0) as taken:
        taken.listen()
        with pytest.raises(OSError, match=r"can't listen on \[::1\]:\d+: "):
            bind("::1", taken.getsockname()[1])
