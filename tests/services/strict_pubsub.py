"""A Pub/Sub that answers as it is told, within the test's own process: for what the emulator never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.pubsub_v1 import GetSubscriptionRequest, PublishRequest, PublishResponse, PullResponse, Subscription

from tests.services.servers import free_port

_PULL_SECONDS = 0.02
"""How long a pull waits; there is nothing to be had."""


class StrictPubSub(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Takes messages, unless a rule is against it."""

    def __init__(self, host: str) -> None:
        self.host = host
        """The value of PUBSUB_EMULATOR_HOST."""
        self.requests: list[list[bytes]] = []
        """The data of each request that was taken."""
        self.bad: set[bytes] = set()
        """Data for which a whole request is refused as invalid."""
        self.failure: grpc.StatusCode | None = None
        """What publishing fails with."""
        self.unseen: grpc.StatusCode | None = grpc.StatusCode.PERMISSION_DENIED
        """What looking at a subscription fails with."""
        self.topic = "projects/strict/topics/strict"
        """What each subscription belongs to."""
        self.looks = 0
        """How often a subscription was looked at."""
        self.pulls = 0
        """How many pulls were answered."""

    def service(self, details: Any) -> Any:
        """Return the handler of a call."""
        handlers = {"Publish": self._publish, "GetSubscription": self._look, "Pull": self._pull}
        method = details.method.rpartition("/")[2]
        return grpc.unary_unary_rpc_method_handler(handlers.get(method, self._deny))

    async def _publish(self, raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        data = [message.data for message in PublishRequest.deserialize(raw).messages]
        if self.failure is not None:
            await context.abort(self.failure, "as told")
        if self.bad & {*data}:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a message is not valid")
        self.requests.append(data)
        answer: bytes = PublishResponse.serialize(PublishResponse(message_ids=[str(n) for n in range(len(data))]))
        return answer

    async def _look(self, raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.looks += 1
        if self.unseen is not None:
            await context.abort(self.unseen, "as told")
        name = GetSubscriptionRequest.deserialize(raw).subscription
        answer: bytes = Subscription.serialize(Subscription(name=name, topic=self.topic))
        return answer

    async def _pull(self, _raw: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        await asyncio.sleep(_PULL_SECONDS)
        self.pulls += 1
        answer: bytes = PullResponse.serialize(PullResponse())
        return answer

    async def _deny(self, _raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "nothing else is allowed")
        return b""


@asynccontextmanager
async def strict_pubsub() -> AsyncIterator[StrictPubSub]:
    """Run one on a free port."""
    handler = StrictPubSub(f"127.0.0.1:{free_port()}")
    server = grpc.aio.server(handlers=[handler])
    server.add_insecure_port(handler.host)
    await server.start()
    try:
        yield handler
    finally:
        await server.stop(None)
