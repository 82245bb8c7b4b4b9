"""Long responses: sending them must not block the event loop."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from starlette.types import Message

from pycalc.routers.http.connection import ClientGone
from pycalc.routers.http.representations import batch_response, throttled
from pycalc.services.compute.loop_scheduler import LoopScheduler

pytestmark = pytest.mark.anyio


async def test_others_are_heard_between_the_slices_of_many_long_results() -> None:
    """While ten responses of a hundred slices each are sent, another task waits for only a few slices."""
    scheduler, sent = LoopScheduler(), list[object]()

    async def send(message: Message) -> None:
        sent.append(message["body"])

    async def result(number: int) -> None:
        send_in_turn = throttled(send, scheduler)
        for _ in range(100):
            await send_in_turn({"type": "http.response.body", "body": number, "more_body": True})
        await send_in_turn({"type": "http.response.body", "body": number})

    results = [asyncio.create_task(result(number)) for number in range(10)]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(sent.append, "other")
    await asyncio.gather(*results)
    assert len(sent) == 10 * 101 + 1
    assert sent.index("other") <= 10


async def test_the_rest_of_a_batch_is_not_sent_to_a_client_that_hangs_up() -> None:
    """After a client disconnects, most of a long response is not sent, and its memory is released."""
    sent, gone = list[Message](), asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 4:
            gone.set()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    memory, given_back = ExitStack(), list[bool]()
    memory.callback(given_back.append, True)
    response = batch_response([b"1" * 10_000_000], (), LoopScheduler(), memory)
    with pytest.raises(ClientGone):
        await response({"type": "http"}, receive, send)
    assert 4 <= len(sent) < 20
    assert given_back == [True]


async def test_the_last_part_of_a_response_is_sent_at_once() -> None:
    """The last or only part of a response is sent without waiting for the loop scheduler."""
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    sending = throttled(send, LoopScheduler())({"type": "http.response.body", "body": b"55"})
    with pytest.raises(StopIteration):
        sending.send(None)  # type: ignore[attr-defined]
    assert sent == [{"type": "http.response.body", "body": b"55"}]
