"""``pycalc dead-letters``: list, requeue or discard events that could not be delivered (ADR 17)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from pycalc.db import open_database
from pycalc.db.base import DeadLetterStore
from pycalc.db.dead_letters import SqlDeadLetterStore
from pycalc.errors import PycalcError
from pycalc.models.ids import text_of_id
from pycalc.models.times import timestamp
from pycalc.observability.logging import configure_logging

_PAGE = 200
_REASON_CHARACTERS = 200
_CONTENT_CHARACTERS = 8_192  # an event is never longer; a foreign message may be


def show(url: str) -> int:
    """Print each dead letter of a database on a line; return the exit status."""
    return _run(url, _show)


def requeue(url: str, number: int) -> int:
    """Put a dead letter's event back into the outbox; return the exit status."""
    return _run(url, lambda letters: letters.requeue(number), f"there is no letter {number} that can be published")


def discard(url: str, number: int) -> int:
    """Delete a dead letter; return the exit status."""
    return _run(url, lambda letters: letters.discard(number), f"there is no letter {number}")


def _run(url: str, work: Callable[[DeadLetterStore], Awaitable[bool]], failure: str = "") -> int:
    """Work on a database's dead letters; print ``failure`` when the work returns False."""
    configure_logging()

    async def with_database() -> bool:
        async with aclosing(await open_database(url)) as database:
            return await work(SqlDeadLetterStore(database))

    try:
        done = asyncio.run(with_database())
    except (PycalcError, ValueError) as error:
        failure, done = str(error), False
    if not done:
        print(f"pycalc: {failure}", file=sys.stderr)  # noqa: T201  # for the person at the console
    return int(not done)


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
