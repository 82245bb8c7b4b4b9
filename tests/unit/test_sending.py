"""Responses to slow clients: ended if they are read too slowly, and counted while they are in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from starlette.types import Message, Scope

from pycalc.models.auth import Principal, Role
from pycalc.observability.metrics import Metrics
from pycalc.observability.requests import REQUEST, RequestContext
from pycalc.routers.http.sending import PART_BYTES, ClientTooSlow, ResponseSender, in_time
from pycalc.services.limits.concurrency import UNCOUNTED_BYTES, ReadingSpeed, response_memory

pytestmark = pytest.mark.anyio

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
TOTAL = 4 * UNCOUNTED_BYTES


class Clock:
    """A client with a simulated clock. It takes the next of the given ``seconds`` to receive each message."""

    def __init__(self, *seconds: float) -> None:
        self.now = 0.0
        self._seconds = list(seconds)

    async def send(self, _: Message) -> None:
        self.now += self._seconds.pop(0)


def part(size: int) -> Message:
    """Return a message with a part of a body."""
    return {"type": "http.response.body", "body": bytes(size), "more_body": True}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clock]:
    """Return a function that makes a client and installs its clock."""

    def make(*seconds: float) -> Clock:
        made = Clock(*seconds)
        monkeypatch.setattr("pycalc.routers.http.sending.monotonic", lambda: made.now)
        return made

    return make


async def test_a_client_that_reads_at_the_rate_gets_everything(clock: Callable[..., Clock]) -> None:
    """A client that reads 1,000 bytes a second receives a response of any length."""
    client = clock(*[1.0] * 50)
    send = in_time(client.send, ReadingSpeed(seconds=3, rate=1_000))
    for _ in range(50):
        await send(part(1_000))


async def test_a_client_below_the_rate_is_given_up_when_it_is_too_late(clock: Callable[..., Clock]) -> None:
    """At half the required rate a client falls behind by 0.5 s a second, and is cut off when it is 3 s behind."""
    client = clock(*[1.0] * 50)
    send = in_time(client.send, ReadingSpeed(seconds=3, rate=1_000))
    for _ in range(5):
        await send(part(500))
    with pytest.raises(ClientTooSlow):
        await send(part(500))


async def test_reading_fast_saves_nothing_up(clock: Callable[..., Clock]) -> None:
    """Fast reading earns no credit: a client that then stops is cut off as soon as any other client."""
    client = clock(*[0.0] * 50, 2.9, 3.0)
    send = in_time(client.send, ReadingSpeed(seconds=3, rate=1_000))
    for _ in range(50):
        await send(part(100_000))
    await send(part(2_900))
    with pytest.raises(ClientTooSlow):
        await send(part(0))


async def test_between_events_a_client_catches_up(clock: Callable[..., Clock]) -> None:
    """A client that fell behind the required rate catches up in the pauses between small events.

    So its delays do not add up over days.
    """
    client = clock(*[1.0] * 50)
    send = in_time(client.send, ReadingSpeed(seconds=3, rate=1_000))
    for _ in range(50):
        await send(part(13))
        client.now += 15


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    """If a part can't be sent in time, the client is cut off."""

    async def never(_: Message) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ClientTooSlow):
        await in_time(never, ReadingSpeed(seconds=0.01, rate=1_000))(part(1))


class Exchange:
    """A response to a client. It records each message that is sent, and the response memory that is held then."""

    def __init__(self, memory: int = TOTAL, user: int = 1, method: str = "GET", seconds: float = 60) -> None:
        self.metrics = Metrics()
        self.memory = response_memory(self.metrics, memory)
        self.sent: list[Message] = []
        self.held: list[int] = []
        resources = SimpleNamespace(
            response_memory=self.memory, reading_speed=ReadingSpeed(seconds, 1e9), metrics=self.metrics
        )
        caller = Principal(bytes([user]) * 16, "ada", Role.USER, bytes(16), 0.0)
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": "/secure-history",
            "headers": [],
            REQUEST: RequestContext(caller=caller),
            "state": {"resources": resources},
        }
        self.sender = ResponseSender(self.scope, self._receive, self._send)

    async def _receive(self) -> Message:
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        self.held.append(self.memory.taken)

    async def whole(self, size: int) -> None:
        """Send a response in one piece, as the framework does."""
        await self.sender(dict(START))
        await self.sender({"type": "http.response.body", "body": bytes(size)})

    @property
    def body(self) -> bytes:
        """Return the body that the client received."""
        return b"".join(message.get("body", b"") for message in self.sent)


async def test_a_short_response_goes_as_it_is() -> None:
    """A short response is sent in one piece, with the security headers, and its memory is not counted."""
    exchange = Exchange()
    await exchange.whole(UNCOUNTED_BYTES)
    start, body = exchange.sent
    assert (start["status"], exchange.sender.status) == (200, 200)
    assert (b"x-content-type-options", b"nosniff") in start["headers"]
    assert body == {"type": "http.response.body", "body": bytes(UNCOUNTED_BYTES)}
    assert exchange.held == [0, 0]


async def test_a_long_response_counts_until_its_last_part_is_sent() -> None:
    """A long response is sent in parts, and its memory is counted until the last part is sent."""
    exchange = Exchange()
    await exchange.whole(2 * UNCOUNTED_BYTES)
    assert len(exchange.body) == 2 * UNCOUNTED_BYTES
    assert max(len(message.get("body", b"")) for message in exchange.sent) == PART_BYTES
    assert exchange.sent[-1] == {"type": "http.response.body", "body": b""}
    assert set(exchange.held) == {2 * UNCOUNTED_BYTES}
    assert exchange.metrics.registry.get_sample_value("pycalc_response_bytes") == 0


async def test_without_memory_a_long_response_becomes_a_problem() -> None:
    """If a user's share of the response memory is used up, a long response becomes a 503 with Retry-After."""
    exchange = Exchange()
    exchange.memory.acquire(bytes([1]) * 16, TOTAL // 2)
    await exchange.whole(UNCOUNTED_BYTES + 1)
    start, body = exchange.sent
    assert (start["status"], exchange.sender.status) == (503, 503)
    assert (b"retry-after", b"5") in start["headers"]
    assert json.loads(body["body"])["type"] == "/docs/problems#overloaded"
    value = exchange.metrics.registry.get_sample_value
    assert value("pycalc_requests_refused_total", {"reason": "memory"}) == 1
    assert value("pycalc_response_bytes") == TOTAL // 2


async def test_without_memory_a_short_response_is_sent() -> None:
    """If a user's share of the response memory is used up, a short response is sent all the same."""
    exchange = Exchange()
    exchange.memory.acquire(bytes([1]) * 16, TOTAL // 2)
    await exchange.whole(UNCOUNTED_BYTES)
    assert exchange.sender.status == 200
    assert exchange.body == bytes(UNCOUNTED_BYTES)


@pytest.mark.parametrize("more", [True, False], ids=["a part", "the last part"])
async def test_a_long_response_that_is_cut_is_counted_out(more: bool) -> None:
    """If the client is cut off, the memory of its long response is no longer counted."""
    exchange = Exchange(seconds=0.01)

    async def stuck(message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("more_body", False) is more:
            await asyncio.Event().wait()

    exchange.sender = ResponseSender(exchange.scope, exchange._receive, stuck)
    with pytest.raises(ClientTooSlow):
        await exchange.whole(2 * UNCOUNTED_BYTES)
    assert exchange.memory.taken == 0


async def test_without_memory_the_response_to_a_post_is_still_sent() -> None:
    """A long response to a POST is counted but never refused, because the 503 would say that nothing was done."""
    exchange = Exchange(method="POST")
    exchange.memory.acquire(bytes([1]) * 16, TOTAL // 2)
    await exchange.whole(TOTAL)
    assert (exchange.sender.status, len(exchange.body)) == (200, TOTAL)
    assert set(exchange.held) == {TOTAL // 2 + TOTAL}
    assert exchange.memory.taken == TOTAL // 2
