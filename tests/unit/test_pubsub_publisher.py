"""What Pub/Sub's publisher makes of requests that nobody answers."""

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
    """A client whose calls are given up, as gRPC's are when their channel is closed."""

    async def publish(self, **_: Any) -> None:
        """See PublisherAsyncClient."""
        await asyncio.sleep(0)
        raise asyncio.CancelledError


async def test_a_request_that_was_given_up_is_not_taken() -> None:
    """A task group takes one that ends cancelled, by itself, for one that is done."""
    publishing = Publishing(cast("PublisherAsyncClient", ClosedChannel()), "projects/pycalc-tests/topics/events", 1.0)
    with pytest.raises(GoogleAPIError):
        await publishing.send(numbered(key_of("ada"), range(3)))
