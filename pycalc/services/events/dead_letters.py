"""Administration of dead letters: events and other messages that could not be delivered or read (ADR 17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from pycalc.db.base import DeadLetterStore
from pycalc.errors import NotFound
from pycalc.models.formats import timestamp
from pycalc.models.ids import text_of_id
from pycalc.models.service import DeadLetterItem
from pycalc.services.accounts.audit_log import AuditLog

_LARGEST_NUMBER = 2**63 - 1  # the largest integer that the databases store
_CONTENT_BYTES = 8_192  # no event of this service is longer, but a message of another producer may be


class DeadLetters:
    """The service that lists, requeues and discards dead letters. Its callers must check the actor's rights."""

    def __init__(self, store: DeadLetterStore, audit: AuditLog, requeued: Callable[[], None] = lambda: None) -> None:
        """Use ``store``. ``requeued`` is called after an event was moved into the outbox."""
        self._store = store
        self._audit = audit
        self._requeued = requeued

    async def items(self, after: int, limit: int) -> list[DeadLetterItem]:
        """Return up to ``limit`` dead letters with numbers above ``after``, in ascending order."""
        return [
            {
                "id": letter.number,
                "stage": cast("Literal['relay', 'consumer']", letter.stage),
                "event_id": None if letter.event_id is None else text_of_id(letter.event_id),
                "origin": letter.origin,
                "reason": letter.reason,
                "content": letter.payload[:_CONTENT_BYTES].decode(errors="backslashreplace"),
                "created_at": timestamp(letter.created_ms),
            }
            for letter in await self._store.page(after, limit)
        ]

    async def requeue(self, number: int, actor: str) -> None:
        """Move a dead letter's event back into the outbox.

        Raises NotFound if there is no dead letter with this number, or the history has no calculation for it.
        """
        if not 0 < number <= _LARGEST_NUMBER or not await self._store.requeue(number):
            raise NotFound(f"There is no dead letter {number} that can be published.")
        self._requeued()
        self._audit.record("dead letter requeued", None, actor, number=number)

    async def discard(self, number: int, actor: str) -> None:
        """Delete a dead letter; raises NotFound if there is none with this number."""
        if not 0 < number <= _LARGEST_NUMBER or not await self._store.discard(number):
            raise NotFound(f"There is no dead letter {number}.")
        self._audit.record("dead letter discarded", None, actor, number=number)

    async def size(self) -> int:
        """Return the number of dead letters."""
        return await self._store.size()
