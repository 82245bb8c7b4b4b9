"""The ASGI ``receive`` channel of a client, which reports that the client disconnects."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from starlette.types import Message

from pycalc.routers.http.connection import MAX_BODY_BYTES, Client, ClientGone, most_bytes_of_body
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio


class Server:
    """The server's side of a request, which answers ``receive`` only when the test says so."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[Message]] = []

    def receive(self) -> asyncio.Future[Message]:
        self.questions.append(asyncio.get_running_loop().create_future())
        return self.questions[-1]


async def done() -> int:
    """Return a result after one iteration of the event loop."""
    await asyncio.sleep(0)
    return 7


async def test_one_receive_call_serves_all_work_for_a_client() -> None:
    """All work for a client shares one ``receive`` call, because a cancelled call would look like a disconnect."""
    server = Server()
    with Client(server.receive) as client:
        for _ in range(3):
            assert await client.while_there(done()) == 7
        assert [question.cancelled() for question in server.questions] == [False]
    await asyncio.sleep(0)
    assert [question.cancelled() for question in server.questions] == [True]


async def test_a_disconnect_cancels_the_work() -> None:
    """If the client disconnects, its running work is cancelled."""
    server = Server()
    client = Client(server.receive)
    assert await client.while_there(done()) == 7
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    working = asyncio.create_task(client.while_there(long()))
    await begun.wait()
    server.questions[0].set_result({"type": "http.disconnect"})
    with pytest.raises(ClientGone):
        await working
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_an_error_after_a_disconnect_is_not_logged() -> None:
    """If the work fails after the client has disconnected, asyncio does not log the error as never retrieved."""
    server, logged, others = Server(), list[dict[str, Any]](), asyncio.all_tasks()
    client, begun = Client(server.receive), asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))

    async def fail_when_cancelled() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    working = asyncio.create_task(client.while_there(fail_when_cancelled()))
    await begun.wait()
    server.questions[0].set_result({"type": "http.disconnect"})
    await until(lambda: asyncio.all_tasks() == others, "the work has ended")
    assert isinstance(working.exception(), ClientGone)
    del working  # its traceback refers to the work
    gc.collect()
    assert logged == []


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], MAX_BODY_BYTES),
        ([b"0"], 0),
        ([b"7"], 7),
        ([b"%d" % (MAX_BODY_BYTES + 1)], MAX_BODY_BYTES),
        ([b"-1"], MAX_BODY_BYTES),
        ([b"0" * 5_000 + b"7"], 7),
        ([b"9" * 5_000], MAX_BODY_BYTES),
    ],
)
def test_a_body_has_at_most_its_declared_length(lengths: list[bytes], expected: int) -> None:
    """The maximum size of a body is its Content-Length, which may be 0, but never exceeds its route's limit.

    Without a valid Content-Length, it is that limit.
    """
    scope = {"type": "http", "headers": [(b"content-length", length) for length in lengths]}
    assert most_bytes_of_body(scope) == expected
