"""Load in which every request is accounted for, with its answer and its times."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

from drills.support.connection import Answer, Connection, Unanswered, request
from tests.harness.waiting import until

CONNECTIONS = 16
# Each client numbers its requests. Every _BATCH_EVERY-th is a batch. Every _WORKER_EVERY-th is computed by a worker
# process, unless it is a batch.
_BATCH_EVERY, _BATCH_SIZE = 20, 5
_WORKER_EVERY = 50
# The pause of a client after a refusal or a failed connection.
_REST_SECONDS = 0.02


@dataclass(slots=True)
class Exchange:
    """One request and its outcome."""

    # Operands, each used once in a drill, so that a history row identifies its request.
    operands: tuple[int, ...]
    # The time of sending, by ``monotonic``.
    sent: float
    # The status; None while no complete answer was received.
    status: int | None = None
    # Seconds from sending the request to the end of the answer.
    seconds: float = 0.0
    # Ids of the calculations that were answered.
    ids: tuple[str, ...] = ()
    retry_after: str | None = None
    # True when the service said that the outcome of recording is unknown.
    unknown: bool = False
    # True when the connection ended in the middle of the answer.
    cut: bool = False

    def settle(self, answer: Answer) -> None:
        """Note the answer; raises ValueError when the answer belongs to another request."""
        self.status, self.seconds = answer.status, answer.seconds
        self.retry_after = answer.field("retry-after")
        self.unknown = b"not known whether" in answer.body
        if answer.status == 200:
            body = json.loads(answer.body)
            made = [each for each in body.get("results", [body]) if "id" in each]
            if not {each["input"]["x"] for each in made} <= set(self.operands):
                raise ValueError(f"{self.operands} was answered with {answer.body!r}")
            self.ids = tuple(each["id"] for each in made)


@dataclass(slots=True)
class Ledger:
    """All requests of a drill."""

    exchanges: list[Exchange] = field(default_factory=list)
    # The number of requests answered with 200.
    answered: int = 0
    _operands: Iterator[int] = field(default_factory=lambda: count(1_000_000))

    def ask(self, size: int = 1) -> Exchange:
        """Record that a request for ``size`` calculations, each with a new operand, is sent now."""
        exchange = Exchange(tuple(next(self._operands) for _ in range(size)), monotonic())
        self.exchanges.append(exchange)
        return exchange

    def settle(self, exchange: Exchange, answer: Answer) -> None:
        """Note the answer to a request."""
        exchange.settle(answer)
        self.answered += exchange.status == 200

    async def more_answers(self, fewest: int) -> None:
        """Wait until ``fewest`` more requests have been answered with 200; fail after 60 s."""
        enough = self.answered + fewest
        await until(lambda: self.answered >= enough, "the load has begun", 60)

    def since(self, moment: float) -> list[Exchange]:
        """Return the requests sent since ``moment``, a time of the clock ``monotonic``."""
        return [exchange for exchange in self.exchanges if exchange.sent >= moment]

    def acknowledged(self) -> list[str]:
        """Return the ids of all calculations that were answered with 200."""
        return [identity for exchange in self.exchanges for identity in exchange.ids]


class Load:
    """Clients that each send one request after the other until they are stopped."""

    def __init__(self, ledger: Ledger, token: str, *, patient: bool, workers: bool = True) -> None:
        """Prepare the clients. With ``workers``, some of their requests need a worker process.

        When the server cannot be reached, the clients try again if ``patient``, or else end.
        """
        self._ledger = ledger
        self._workers = workers
        self._headers = {"Authorization": f"Bearer {token}"}
        self._patient = patient
        self._stopping = False

    @asynccontextmanager
    async def on(self, port: int, connections: int = CONNECTIONS) -> AsyncIterator[None]:
        """Keep a server busy during the ``with`` block; then wait for the outstanding answers."""
        self._stopping = False
        clients = [asyncio.create_task(self._client(port, number)) for number in range(connections)]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.wait_for(asyncio.gather(*clients), 60)

    async def _client(self, port: int, number: int) -> None:
        """Send requests until stopped. When the server cannot be reached, try again if patient, else end."""
        turn = number  # so that not all clients send the same kind of request at once
        while not self._stopping:
            try:
                connection = await Connection.open(port)
            except OSError:
                if not self._patient:
                    return
                await asyncio.sleep(_REST_SECONDS)
                continue
            while connection.usable and not self._stopping:
                turn += 1
                await self._exchange(connection, turn)
            connection.close()

    async def _exchange(self, connection: Connection, turn: int) -> None:
        size = _BATCH_SIZE if turn % _BATCH_EVERY == 0 else 1
        exchange = self._ledger.ask(size)
        try:
            self._ledger.settle(exchange, await connection.ask(self._request(exchange.operands, turn)))
        except Unanswered as cut:
            exchange.cut = bool(cut.received)
        if exchange.status == 503:
            await asyncio.sleep(_REST_SECONDS)

    def _request(self, operands: tuple[int, ...], turn: int) -> bytes:
        """Return a request for the power x^1 of each operand x.

        With workers, some requests with a single operand ask for x^3000 instead, which needs a worker process.
        ``turn``, the number of the request, selects them.
        """
        if len(operands) > 1:
            batch = [{"operation": "pow", "input": {"x": operand, "y": 1}} for operand in operands]
            body = json.dumps({"operations": batch}).encode()
            return request("/batch", {**self._headers, "Content-Type": "application/json"}, "POST", body)
        exponent = 3_000 if self._workers and turn % _WORKER_EVERY == 0 else 1
        return request(f"/pow/{operands[0]}/{exponent}", self._headers)


async def ask_once(ledger: Ledger, port: int, token: str, exponent: int = 1) -> Exchange:
    """Request x^exponent on a new connection, and return the outcome; raises OSError."""
    connection = await Connection.open(port)
    exchange = ledger.ask()
    sent = request(f"/pow/{exchange.operands[0]}/{exponent}", {"Authorization": f"Bearer {token}"})
    try:
        ledger.settle(exchange, await connection.ask(sent))
    except Unanswered as cut:
        exchange.cut = bool(cut.received)
    connection.close()
    return exchange
