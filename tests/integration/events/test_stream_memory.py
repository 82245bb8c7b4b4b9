"""The memory of open event streams."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.types import Message

from pycalc.main import open_state
from pycalc.settings import Settings
from tests.harness.in_process import application, client_of, new_user

pytestmark = pytest.mark.anyio

ROUNDS, STREAMS = 2, 9  # a user may open 20 streams, and the first one is not measured
KIB_EACH = 20.0


@contextmanager
def traced() -> Iterator[None]:
    """Count the memory that Python allocates during the ``with`` block."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


async def test_an_open_stream_takes_little_memory(settings: Settings) -> None:
    """Each open event stream takes less than 20 KiB of memory."""
    app = application(settings)
    async with open_state(settings) as state, client_of(app, state) as client:
        _, headers = await new_user(client)
        fields = [(b"host", b"pycalc.test"), (b"authorization", headers["Authorization"].encode())]
        streams = list[asyncio.Task[None]]()

        async def opened() -> None:
            begun = asyncio.Event()

            async def receive() -> Message:
                await asyncio.Event().wait()
                return {}

            async def send(message: Message) -> None:
                if message["type"] == "http.response.body":
                    begun.set()

            scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http"}
            scope |= {"path": "/events", "raw_path": b"/events", "query_string": b"", "headers": fields, "state": state}
            scope |= {"client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 80), "root_path": ""}
            streams.append(asyncio.create_task(app(scope, receive, send)))
            await begun.wait()

        await opened()  # now the memory that all streams share is allocated
        each = list[float]()
        with traced():
            for _ in range(ROUNDS):
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(STREAMS):
                    await opened()
                each.append((tracemalloc.get_traced_memory()[0] - before) / STREAMS / 1024)
        for stream in streams:
            stream.cancel()
        await asyncio.wait(streams)
    assert min(each) < KIB_EACH  # in one round, another task of the service may allocate something
