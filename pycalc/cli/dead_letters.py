"""``pycalc dead-letters``: list, requeue or discard events that could not be delivered (ADR 17)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from pycalc.cli.configuration import configure
from pycalc.db import open_database
from pycalc.db.audit import SqlAuditStore
from pycalc.db.outbox import SqlDeadLetterStore
from pycalc.models.ids import IdSource
from pycalc.observability.metrics import Metrics
from pycalc.services.accounts.audit_log import COMMAND_LINE, AuditLog
from pycalc.services.events.dead_letters import DeadLetters

_PAGE = 200
_REASON_CHARACTERS = 200


def _run(work: Callable[[DeadLetters], Awaitable[None]]) -> None:
    settings = configure()

    async def with_database() -> None:
        async with (
            aclosing(await open_database(settings.database)) as database,
            aclosing(AuditLog(SqlAuditStore(database), IdSource(), Metrics())) as audit,
        ):
            await work(DeadLetters(SqlDeadLetterStore(database), audit))

    asyncio.run(with_database())


def show() -> None:
    """Print each dead letter on a line, in ASCII: number, stage, time, event id, origin, reason and content."""

    async def show_all(dead_letters: DeadLetters) -> None:
        last = 0
        while page := await dead_letters.items(last, _PAGE):
            for letter in page:
                event = letter["event_id"] or "not an event of this service"
                reason, content = ascii(letter["reason"][:_REASON_CHARACTERS]), ascii(letter["content"])
                facts = (letter["id"], letter["stage"], letter["created_at"], event, ascii(letter["origin"]))
                print(*facts, reason, content)  # noqa: T201  # for the person at the console
            last = page[-1]["id"]

    _run(show_all)


def requeue(number: int) -> None:
    """Put the event of a dead letter back into the outbox, if its calculation is still recorded."""
    _run(lambda dead_letters: dead_letters.requeue(number, COMMAND_LINE))


def discard(number: int) -> None:
    """Delete a dead letter."""
    _run(lambda dead_letters: dead_letters.discard(number, COMMAND_LINE))
