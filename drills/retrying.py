"""A drill that kills servers while they answer requests with an Idempotency-Key, and retries every request."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from drills.support.connection import Answer, Connection, Unanswered, request
from drills.support.finding import Finding, faults
from drills.support.history import in_sqlite
from tests.harness.servers import A_DAY, Server, free_port, log_in, pycalc

_CLIENTS = 16
_LONGEST_WAIT = 0.02  # seconds from sending the requests to the kill: by then some are recorded and others are not


@dataclass(slots=True)
class _Request:
    """A request with an Idempotency-Key, and its first complete answer."""

    operand: int
    sent: bytes
    answer: Answer | None = None


def retrying(rounds: int = 200) -> Finding:
    """Kill a server ``rounds`` times while it answers; start it again on the same data, and retry all requests."""
    with TemporaryDirectory(prefix="drill-") as folder:
        data = Path(folder)
        figures, wrong = asyncio.run(_rounds(data, rounds))
        rows = Counter(row.operand for row in in_sqlite(data / "pycalc.db"))
    sent = rounds * _CLIENTS
    doubled = sum(times > 1 for times in rows.values())
    return Finding(
        "kill -9, retries",
        f"{rounds} servers killed while they answered {_CLIENTS} requests with an Idempotency-Key, which were retried",
        figures,
        faults(**wrong, rows_twice=doubled, rows_missing=sent - len(rows)),
    )


async def _rounds(data: Path, rounds: int) -> tuple[dict[str, int], dict[str, int]]:
    """Kill a server and retry its requests, ``rounds`` times. Return the figures and faults for the finding."""
    chance = random.Random()  # noqa: S311  # moments, not secrets
    start = partial(pycalc, data=data, port=free_port(), access_token_seconds=A_DAY)
    with start() as server:
        token = log_in(server)
    answered = unanswered_but_recorded = differing = refused = 0
    pending: list[_Request] = []
    for number in range(rounds + 1):
        with start() as server:
            for each in pending:
                again = await _ask(server.port, each.sent)
                replayed = again.field("idempotency-replayed") == "true"
                refused += again.status != 201
                if each.answer is None:
                    unanswered_but_recorded += replayed
                else:
                    answered += 1
                    differing += not replayed or again.body != each.answer.body
            if number < rounds:
                pending = [_new(number * _CLIENTS + client, token) for client in range(_CLIENTS)]
                await _kill_while_answering(server, pending, chance.uniform(0, _LONGEST_WAIT))
    figures = {
        "requests": rounds * _CLIENTS,
        "answered before the kill": answered,
        "recorded before it, not answered": unanswered_but_recorded,
    }
    return figures, {"other_answers": differing, "retries_refused": refused}


def _new(operand: int, token: str) -> _Request:
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": f'"{uuid.uuid4()}"',
    }
    body = json.dumps({"operation": "pow", "input": {"x": operand, "y": 1}}).encode()
    return _Request(operand, request("/calculations", headers, "POST", body))


async def _ask(port: int, sent: bytes) -> Answer:
    connection = await Connection.open(port)
    try:
        return await connection.ask(sent)
    finally:
        connection.close()


async def _kill_while_answering(server: Server, requests: list[_Request], seconds: float) -> None:
    """Send all requests at once, and kill the server ``seconds`` seconds later; note the answers that arrived."""
    connections = [await Connection.open(server.port) for _ in requests]

    async def ask(each: _Request, connection: Connection) -> None:
        with suppress(Unanswered):  # the request is retried later
            each.answer = await connection.ask(each.sent)
        connection.close()

    asking = [
        asyncio.create_task(ask(each, connection)) for each, connection in zip(requests, connections, strict=True)
    ]
    await asyncio.sleep(seconds)
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.gather(*asking)
    server.process.wait()
