"""``pycalc dead-letters``: list, requeue or discard events that could not be delivered (ADR 17)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from pycalc.db import open_database
from pycalc.db.base import DeadLetterStore
from pycalc.db.dead_letters import SqlDeadLetterStore
from pycalc.errors import NotFound
from pycalc.models.ids import text_of_id
from pycalc.models.times import timestamp
from pycalc.settings import Settings

_PAGE = 200
_REASON_CHARACTERS = 200
_CONTENT_CHARACTERS = 8_192  # an event is never longer; a foreign message may be


def show(settings: Settings) -> None:
    """Print each dead letter of a database on a line."""
    _run(settings, _show)


def requeue(settings: Settings, number: int) -> None:
    """Put a dead letter's event back into the outbox."""
    _run(settings, lambda letters: letters.requeue(number), f"there is no dead letter {number} that can be published")


def discard(settings: Settings, number: int) -> None:
    """Delete a dead letter."""
    _run(settings, lambda letters: letters.discard(number), f"there is no dead letter {number}")


def _run(settings: Settings, work: Callable[[DeadLetterStore], Awaitable[bool]], failure: str = "") -> None:
    """Work on a database's dead letters; raises NotFound, with the message ``failure``, when the work returns False."""

    async def with_database() -> None:
        async with aclosing(await open_database(settings.database)) as database:
            if not await work(SqlDeadLetterStore(database)):
                raise NotFound(failure)

    asyncio.run(with_database())


async def _show(letters: DeadLetterStore) -> bool:
    """Print number, stage, time, event id, origin, reason and content, with control characters escaped."""
    last = 0
    while page := await letters.page(last, _PAGE):
        for letter in page:
            event = "no event of ours" if letter.event_id is None else text_of_id(letter.event_id)
            reason = ascii(letter.reason[:_REASON_CHARACTERS])
            content = ascii(letter.payload.decode(errors="backslashreplace")[:_CONTENT_CHARACTERS])
            origin = ascii(letter.origin)
            line = (letter.number, letter.stage, timestamp(letter.created_ms), event, origin, reason, content)
            print(*line)  # noqa: T201  # for the person at the console
        last = page[-1].number
    return True
