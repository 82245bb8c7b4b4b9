"""What the contract tests of all stores share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from pycalc.db import open_database
from pycalc.db.base import Database
from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream
from pycalc.streaming.base import Stream

Another = Callable[[], Awaitable[Stream]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open an empty database, of each kind in turn."""
    opened = await open_database(database_url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def another(url: str) -> AsyncIterator[Another]:
    """Open the test's stream as one more instance of the service would."""
    async with AsyncExitStack() as stack:

        async def opened() -> Stream:
            stream = await open_stream(url, Metrics())
            stack.push_async_callback(stream.aclose)
            return stream

        yield opened
