"""Load whose every request is accounted for: what was asked, what was answered, and when."""

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
_BATCH_EVERY, _BATCH_SIZE = 20, 5
_WORKER_EVERY = 50
"""Each so manieth request is a batch, or one that a worker process computes."""
_REST_SECONDS = 0.02
"""Pause of a client that was refused or could not connect."""


@dataclass(slots=True)
class Exchange:
    """One request, and what came of it."""

    operands: tuple[int, ...]
    """Each operand is asked for once in a drill: a row of the history says by it which request it belongs to."""
    sent: float
    """By ``monotonic``."""
    status: int | None = None
    """None while there is no answer, and for good when the connection ended before it was whole."""
    seconds: float = 0.0
    """From the request's sending to the answer's end."""
    ids: tuple[str, ...] = ()
    """Of the calculations that were answered."""
    retry_after: str | None = None
    unknown: bool = False
    """Whether the service said that it does not know if this was recorded."""
    cut: bool = False
    """Whether the connection ended in the middle of the answer."""

    def settle(self, answer: Answer) -> None:
        """Note the answer; raises ValueError when it is one to another request."""
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
    """Everything that was asked in a drill."""

    exchanges: list[Exchange] = field(default_factory=list)
    answered: int = 0
    """How many requests have been answered with 2xx."""
    _operands: Iterator[int] = field(default_factory=lambda: count(1_000_000))

    def ask(self, size: int = 1) -> Exchange:
        """Note a request of so many calculations as sent, with operands of its own."""
        exchange = Exchange(tuple(next(self._operands) for _ in range(size)), monotonic())
        self.exchanges.append(exchange)
        return exchange

    def settle(self, exchange: Exchange, answer: Answer) -> None:
        """Note the answer to a request."""
        exchange.settle(answer)
        self.answered += exchange.status == 200

    async def more_answers(self, fewest: int) -> None:
        """Return when so many more requests have been answered with 2xx: the load has begun."""
        enough = self.answered + fewest
        await until(lambda: self.answered >= enough, "the load has begun", 60)

    def since(self, moment: float) -> list[Exchange]:
        """Return what was sent from a moment on."""
        return [exchange for exchange in self.exchanges if exchange.sent >= moment]

    def acknowledged(self) -> list[str]:
        """Return the ids of all calculations that were answered with 2xx."""
        return [identity for exchange in self.exchanges for identity in exchange.ids]


class Load:
    """Clients that ask one request after the other until they are stopped or their server is gone."""

    def __init__(self, ledger: Ledger, token: str, *, patient: bool, workers: bool = True) -> None:
        """``patient`` clients connect again and again; ``workers`` puts computations for worker processes between."""
        self._ledger = ledger
        self._workers = workers
        self._headers = {"Authorization": f"Bearer {token}"}
        self._patient = patient
        self._stopping = False

    @asynccontextmanager
    async def on(self, port: int, connections: int = CONNECTIONS) -> AsyncIterator[None]:
        """Keep a server busy while the body runs; then wait for the answers that are outstanding."""
        self._stopping = False
        clients = [asyncio.create_task(self._client(port, number)) for number in range(connections)]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.wait_for(asyncio.gather(*clients), 60)

    async def _client(self, port: int, number: int) -> None:
        """Ask until stopped; when the server can't be reached, end, or try again if clients are patient."""
        turn = number  # clients begin at different places of the mixture
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
        """Return a request for x^1 of each operand, or now and then for x^3000, which a worker process computes."""
        if len(operands) > 1:
            batch = [{"operation": "pow", "input": {"x": operand, "y": 1}} for operand in operands]
            body = json.dumps({"operations": batch}).encode()
            return request("/batch", {**self._headers, "Content-Type": "application/json"}, "POST", body)
        exponent = 3_000 if self._workers and turn % _WORKER_EVERY == 0 else 1
        return request(f"/pow/{operands[0]}/{exponent}", self._headers)


async def ask_once(ledger: Ledger, port: int, token: str, exponent: int = 1) -> Exchange:
    """Ask for x^exponent on a connection of its own, and return what came of it; raises OSError."""
    connection = await Connection.open(port)
    exchange = ledger.ask()
    sent = request(f"/pow/{exchange.operands[0]}/{exponent}", {"Authorization": f"Bearer {token}"})
    try:
        ledger.settle(exchange, await connection.ask(sent))
    except Unanswered as cut:
        exchange.cut = bool(cut.received)
    connection.close()
    return exchange
