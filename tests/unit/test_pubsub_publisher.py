"""The Pub/Sub publisher, with requests that gRPC cancels."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from google.api_core.exceptions import GoogleAPIError
from google.pubsub_v1 import PublisherAsyncClient

from pycalc.streaming.pubsub.publisher import Publishing
from tests.harness.events import key_of, numbered

pytestmark = pytest.mark.anyio


class ClosedChannel:
    """A client whose calls are cancelled, as gRPC does when the channel is closed."""

    async def publish(self, **_: Any) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError


async def test_a_request_that_was_given_up_is_not_taken() -> None:
    """If gRPC cancels a request, publishing raises an error, although a task group ignores cancelled tasks."""
    publishing = Publishing(cast("PublisherAsyncClient", ClosedChannel()), "projects/pycalc-tests/topics/events", 1.0)
    with pytest.raises(GoogleAPIError):
        await publishing.send(numbered(key_of("ada"), range(3)))
