"""A Pub/Sub that answers as it is told, within the test's own process: for what the emulator never does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.pubsub_v1 import PublishRequest, PublishResponse

from tests.services.servers import free_port


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

    def service(self, details: Any) -> Any:
        """Return the handler of a call: a publisher may look at nothing."""
        publishing = details.method.endswith("/Publish")
        return grpc.unary_unary_rpc_method_handler(self._publish if publishing else self._deny)

    async def _publish(self, raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        data = [message.data for message in PublishRequest.deserialize(raw).messages]
        if self.failure is not None:
            await context.abort(self.failure, "as told")
        if self.bad & {*data}:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a message is not valid")
        self.requests.append(data)
        answer: bytes = PublishResponse.serialize(PublishResponse(message_ids=[str(n) for n in range(len(data))]))
        return answer

    async def _deny(self, _raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "a publisher may look at nothing")
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
