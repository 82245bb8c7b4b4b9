"""Idempotency keys with a history in memory, and the stored form of a batch's problem documents."""

from __future__ import annotations

import pytest

from pycalc.errors import KeysTaken
from pycalc.models.idempotency import RequestKey
from pycalc.observability.metrics import Metrics
from pycalc.routers.http.problem_types import STATUS
from pycalc.services.calculations.idempotency import IdempotencyKeys, Recorded, key_of, packed, problem_bytes, unpacked
from tests.harness.stores import MemoryHistoryStore, history_row

pytestmark = pytest.mark.anyio

KEY = RequestKey(bytes(16), b"f" * 16)


async def test_a_request_that_another_process_commits_first_is_answered_by_it() -> None:
    """If another process records the same key during a calculation, the client gets that process's result."""
    history = MemoryHistoryStore()
    keys, row = IdempotencyKeys(history.keys, history, Metrics()), history_row()

    async def calculate() -> list[bytes]:
        await history.append([row], [KEY.row([row])])
        raise KeysTaken("Requests with these idempotency keys are recorded.", frozenset({KEY.id}))

    async def again(recorded: Recorded) -> list[bytes]:
        return [each.id for each in recorded.rows]

    assert await keys.once(KEY, calculate, again) == [row.id]


def test_a_key_depends_on_user_and_sent_key_and_its_fingerprint_on_the_request() -> None:
    """A stored key depends on the user and on the key that the client sent; its fingerprint depends on the request."""
    one = key_of(b"a" * 16, "k", b"request")
    assert key_of(b"a" * 16, "k", b"request") == one
    assert {key_of(b"b" * 16, "k", b"request").id, key_of(b"a" * 16, "l", b"request").id} & {one.id} == set()
    other = key_of(b"a" * 16, "k", b"another")
    assert (other.id, other.fingerprint == one.fingerprint) == (one.id, False)


@pytest.mark.parametrize("items", [2, 3, 5, 21, 1_000])
def test_problems_never_exceed_their_bound(items: int) -> None:
    """The problem documents of a batch are stored in at most ``problem_bytes``, whatever their types and lengths.

    Unpacking them returns the documents that the client received.
    """
    slugs = list(STATUS)
    problems = {
        place: {
            "type": f"/docs/problems#{slugs[place % len(slugs)]}",
            "title": "The computation took too long",
            "status": STATUS[slugs[place % len(slugs)]],
            "detail": "".join(chr(0x4E00 + (place * 7_919 + n * 104_729) % 20_000) for n in range(500)),
            "instance": "/batch",
        }
        for place in range(1, items)
    }
    pack, answered = packed(problems, items)
    assert pack is not None
    assert len(pack) <= problem_bytes(items)
    assert unpacked(pack) == answered
    assert answered.keys() == problems.keys()


def test_a_batch_without_problems_stores_none() -> None:
    """If a batch has no problem documents, None is stored for them."""
    assert packed({}, 5) == (None, {})
    assert unpacked(None) == {}
