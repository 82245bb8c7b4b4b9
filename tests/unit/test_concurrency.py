"""Concurrency limits: bounded in total, fair between keys, and without losing a slot."""

from __future__ import annotations

import threading

import pytest

from pycalc.errors import Overloaded
from pycalc.observability.metrics import Metrics
from pycalc.services.limits.concurrency import ConcurrencyLimit, Slot

ADA, BOB, EVE = b"ada", b"bob", b"eve"


@pytest.fixture
def metrics() -> Metrics:
    """Return new metrics."""
    return Metrics()


def limit_of(total: int, metrics: Metrics, each: int | None = None) -> ConcurrencyLimit:
    """Return a limit with ``total`` slots."""
    return ConcurrencyLimit(total, metrics.exports_refused, "Too much at once.", each=each, seconds=7)


def taken_by(limit: ConcurrencyLimit, *keys: bytes) -> list[Slot]:
    """Let each key take slots until it is refused, one key after the other; return the slots."""
    taken = []
    for key in keys:
        while slot := limit.try_acquire(key):
            taken.append(slot)
    return taken


def test_one_key_gets_half_and_the_next_a_part_of_the_rest(metrics: Metrics) -> None:
    """Of 12 slots the first key gets 6, the second 3 of the other 6, the third 2 of the last 3, and the fourth 1."""
    limit = limit_of(12, metrics)
    counts = [len(taken_by(limit, key)) for key in (ADA, BOB, EVE, b"ida", b"uma")]
    assert counts == [6, 3, 2, 1, 0]
    assert limit.taken == 12


def test_the_greediest_key_waits_for_the_others(metrics: Metrics) -> None:
    """A key that holds most slots can't take a released one, while a key with fewer can."""
    limit = limit_of(12, metrics)
    held = taken_by(limit, ADA)
    taken_by(limit, BOB)
    held[0].release()
    assert limit.try_acquire(ADA) is None
    assert limit.try_acquire(EVE) is not None


def test_a_key_may_have_a_bound_of_its_own(metrics: Metrics) -> None:
    """A key never gets more than ``each`` slots, however many are free."""
    assert len(taken_by(limit_of(100, metrics, each=2), ADA)) == 2


def test_a_refusal_says_why_and_when_to_come_back_and_is_counted(metrics: Metrics) -> None:
    """``acquire`` raises a refusal with reason and Retry-After, and counts it; ``try_acquire`` counts nothing."""
    limit = limit_of(1, metrics)
    with limit.acquire(ADA):
        assert limit.try_acquire(BOB) is None
        with pytest.raises(Overloaded, match="Too much at once") as refusal:
            limit.acquire(BOB)
    assert refusal.value.retry_after == 7
    assert metrics.registry.get_sample_value("pycalc_history_exports_refused_total") == 1
    limit.acquire(BOB)


def test_a_slot_is_given_back_once(metrics: Metrics) -> None:
    """A slot that is released twice, or inside its own ``with`` block, becomes free only once."""
    limit = limit_of(4, metrics)
    kept = limit.acquire(BOB)
    with limit.acquire(ADA) as slot:
        slot.release()
        assert limit.taken == 1
    slot.release()
    assert limit.taken == 1
    kept.release()
    assert limit.taken == 0


def test_a_slot_is_given_back_when_its_block_fails(metrics: Metrics) -> None:
    """An error in a slot's ``with`` block releases the slot, and a key without slots is forgotten."""
    limit = limit_of(4, metrics)
    with pytest.raises(LookupError), limit.acquire(ADA):
        raise LookupError
    assert (limit.taken, limit._taken_by) == (0, {})


def test_slots_have_sizes(metrics: Metrics) -> None:
    """Slots have sizes. A new slot is refused if it and the key's other slots together exceed what is free.

    ``require_free`` refuses a size that exceeds what is free.
    """
    limit = limit_of(100, metrics)
    first = limit.acquire(ADA, 40)
    assert limit.try_acquire(ADA, 21) is None
    limit.acquire(ADA, 20)
    assert limit.try_acquire(BOB, 41) is None
    limit.acquire(BOB, 40)
    with pytest.raises(Overloaded):
        limit.require_free(1)
    first.release()
    limit.require_free(40)
    with pytest.raises(Overloaded):
        limit.require_free(41)


def test_threads_lose_no_slot(metrics: Metrics) -> None:
    """After threads have taken and released slots concurrently, all slots are free."""
    limit = limit_of(1_000, metrics)

    def work(key: bytes) -> None:
        for _ in range(5_000):
            limit.acquire(key).release()

    threads = [threading.Thread(target=work, args=(key,)) for key in (ADA, BOB, ADA, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (limit.taken, limit._taken_by) == (0, {})


def test_a_slot_beyond_the_limit_counts_like_others(metrics: Metrics) -> None:
    """``take`` gives a slot even beyond the limit; until it is released, no other slot is free."""
    limit = limit_of(4, metrics)
    limit.acquire(ADA, 2)
    with limit.take(ADA, 3):
        assert limit.taken == 5
        assert limit.try_acquire(BOB) is None
    assert limit.try_acquire(BOB) is not None
