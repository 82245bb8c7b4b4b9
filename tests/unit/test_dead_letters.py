"""Administration of dead letters on a store in memory: invalid numbers, audit entries, and the displayed form."""

from __future__ import annotations

import pytest

from pycalc.db.base import DeadLetter
from pycalc.errors import NotFound
from pycalc.observability.metrics import Metrics
from pycalc.services.events.dead_letters import DeadLetters
from tests.harness.authentication import audit_in
from tests.harness.stores import USER_ID, MemoryAuditStore

pytestmark = pytest.mark.anyio


class Store:
    """A store with one dead letter, which has the largest valid number. ``asked`` records the numbers looked up."""

    def __init__(self, event_id: bytes | None = None, payload: bytes = b"{}") -> None:
        self.asked: list[int] = []
        self._letter = DeadLetter(2**63 - 1, "consumer", event_id, "topic/0/7", "not ours", payload, 1)

    async def put(self, letters: object) -> None:
        raise AssertionError

    async def page(self, after: int, limit: int) -> list[DeadLetter]:
        return [self._letter]

    async def requeue(self, number: int) -> bool:
        self.asked.append(number)
        return number == self._letter.number

    async def discard(self, number: int) -> bool:
        return await self.requeue(number)

    async def size(self) -> int:
        return 1


@pytest.mark.parametrize("action", ["requeue", "discard"])
async def test_only_numbers_that_a_database_stores_reach_it(action: str) -> None:
    """If no dead letter has the given number, NotFound is raised.

    A number below 1 or of more than 63 bits is not looked up. Only a successful action is recorded in the audit log.
    """
    store, entries, metrics = Store(), MemoryAuditStore(), Metrics()
    audit = audit_in(entries, metrics)
    act = getattr(DeadLetters(store, audit), action)
    for number in (-(2**64), -1, 0, 1, 2**63):
        with pytest.raises(NotFound, match=f"There is no dead letter {number}"):
            await act(number, "root")
    await act(2**63 - 1, "root")
    await audit.aclose()
    assert store.asked == [1, 2**63 - 1]
    assert [(entry.action, entry.actor, entry.details) for entry in entries.entries] == [
        (f"dead letter {action}{'d' if action == 'requeue' else 'ed'}", "root", '{"number": 9223372036854775807}')
    ]


@pytest.mark.parametrize(("length", "shown"), [(8_192, 8_192), (8_193, 8_192)])
async def test_a_long_message_is_cut(length: int, shown: int) -> None:
    """Only the first 8 KiB of a message are shown, because no event of the service is longer."""
    letters = DeadLetters(Store(None, b"x" * length), audit_in(MemoryAuditStore(), Metrics()))
    (item,) = await letters.items(0, 10)
    assert item["content"] == "x" * shown


@pytest.mark.parametrize(("event_id", "shown"), [(None, None), (USER_ID, "019aab12-7c00-7123-8456-426614174000")])
async def test_a_dead_letter_is_shown_with_the_id_of_its_event(event_id: bytes | None, shown: str | None) -> None:
    """A dead letter is shown with the UUID of its event, or with null if its message is no event of this service.

    Bytes of the message that are not UTF-8 are escaped.
    """
    letters = DeadLetters(Store(event_id, b"junk\xff"), audit_in(MemoryAuditStore(), Metrics()))
    assert await letters.items(0, 10) == [
        {
            "id": 9_223_372_036_854_775_807,
            "stage": "consumer",
            "event_id": shown,
            "origin": "topic/0/7",
            "reason": "not ours",
            "content": "junk\\xff",
            "created_at": "1970-01-01T00:00:00.001Z",
        }
    ]
