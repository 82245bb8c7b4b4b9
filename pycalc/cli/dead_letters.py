"""``pycalc dead-letters``: list, requeue or discard events that could not be delivered (ADR 17)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from pycalc.cli.configuration import configure
from pycalc.db import open_database
from pycalc.db.base import DeadLetterStore
from pycalc.db.dead_letters import SqlDeadLetterStore
from pycalc.errors import NotFound
from pycalc.models.ids import text_of_id
from pycalc.models.times import timestamp

_PAGE = 200
_REASON_CHARACTERS = 200
_CONTENT_CHARACTERS = 8_192  # no event of this service is longer; another producer's message may be


def _run(work: Callable[[DeadLetterStore], Awaitable[bool]], failure: str = "") -> None:
    """Call ``work`` with the dead letters of the database; raises NotFound(``failure``) when ``work`` returns False."""
    settings = configure()

    async def with_database() -> None:
        async with aclosing(await open_database(settings.database)) as database:
            if not await work(SqlDeadLetterStore(database)):
                raise NotFound(failure)

    asyncio.run(with_database())


def show() -> None:
    """Print each dead letter on a line: number, stage, time, event id, origin, reason and content.

    All but printable ASCII is escaped, and a long reason or content is cut.
    """

    async def show_all(letters: DeadLetterStore) -> bool:
        last = 0
        while page := await letters.page(last, _PAGE):
            for letter in page:
                event = "no event of ours" if letter.event_id is None else text_of_id(letter.event_id)
                reason = ascii(letter.reason[:_REASON_CHARACTERS])
                content = ascii(letter.payload.decode(errors="backslashreplace")[:_CONTENT_CHARACTERS])
                facts = (letter.number, letter.stage, timestamp(letter.created_ms), event, ascii(letter.origin))
                print(*facts, reason, content)  # noqa: T201  # for the person at the console
            last = page[-1].number
        return True

    _run(show_all)


def requeue(number: int) -> None:
    """Move a dead letter's event back into the outbox.

    Raises NotFound if there is no such letter, or no recorded calculation for it.
    """
    _run(lambda letters: letters.requeue(number), f"there is no dead letter {number} that can be published")


def discard(number: int) -> None:
    """Delete a dead letter; raises NotFound."""
    _run(lambda letters: letters.discard(number), f"there is no dead letter {number}")
