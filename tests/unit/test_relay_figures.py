"""A relay's metrics: the number and age of the events that wait in the outbox, and whether the relay leads.

If several processes share an outbox, only one of their relays publishes events: the relay that holds the lease leads.
"""

from __future__ import annotations

import asyncio
from time import time

import pytest

from pycalc.errors import StoreUnavailable, StreamUnavailable
from pycalc.observability.metrics import Metrics
from pycalc.services.events.relay import Relay
from tests.harness.relaying import ListeningStream, relaying
from tests.harness.stores import MemoryOutboxStore, history_row
from tests.harness.virtual_time import in_virtual_time, now
from tests.harness.waiting import until


@in_virtual_time
async def test_the_backlog_metric_counts_what_is_beyond_a_batch() -> None:
    """If the outbox has more entries than a batch, the backlog gauge counts all of them."""
    outbox = MemoryOutboxStore([history_row(n) for n in range(1_200)])
    stream = ListeningStream(outbox)
    told: set[float | None] = set()
    async with relaying(outbox, stream) as (_, metrics):

        def backlog() -> float | None:
            return metrics.registry.get_sample_value("pycalc_outbox_backlog")

        def emptied() -> bool:
            told.add(backlog())
            return not outbox.entries

        await until(emptied, "the outbox is empty")
        await until(lambda: backlog() == 0, "the backlog gauge is 0")
    assert 1_200 - 31 in told


class CountedOutbox(MemoryOutboxStore):
    """An outbox that counts how often its backlog is counted."""

    counted = 0

    async def backlog(self) -> int:
        self.counted += 1
        return await super().backlog()


@in_virtual_time
async def test_a_long_outbox_is_not_counted_with_each_batch() -> None:
    """The backlog is counted at most once a second, because counting a long outbox takes longer than a batch."""
    outbox = CountedOutbox([history_row(n) for n in range(30_000)])
    stream = ListeningStream(outbox)
    began = now()
    async with relaying(outbox, stream):
        await until(lambda: not outbox.entries, "the outbox is empty")
    assert len(stream.attempts) > 50
    assert 2 <= outbox.counted <= 1 + (now() - began)


class UncountableOutbox(CountedOutbox):
    """An outbox that is too long for the database to count its rows in time."""

    async def backlog(self) -> int:
        self.counted += 1
        await asyncio.sleep(1)
        raise StoreUnavailable("The database does not answer in time.")


@in_virtual_time
async def test_an_outbox_that_cannot_be_counted_is_published() -> None:
    """If the backlog can't be counted in time, events are published anyway, and the count is not soon repeated."""
    outbox = UncountableOutbox([history_row(n) for n in range(30_000)])
    stream = ListeningStream(outbox)
    began = now()
    async with relaying(outbox, stream) as (_, metrics):
        await until(lambda: not outbox.entries, "the outbox is empty", seconds=10)
        assert metrics.registry.get_sample_value("pycalc_relay_failures_total") == 0
    assert len(stream.events) == 30_000
    assert outbox.counted == 1
    assert now() - began < 20


@in_virtual_time
async def test_the_age_of_the_oldest_waiting_event_is_reported() -> None:
    """While the stream accepts nothing, the metric of the oldest entry's age grows; for an empty outbox it is 0."""
    began = time()
    outbox = MemoryOutboxStore([history_row(n) for n in range(3)])
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The broker is down.")
    async with relaying(outbox, stream) as (_, metrics):

        def age() -> float:
            return metrics.registry.get_sample_value("pycalc_outbox_oldest_seconds") or 0.0

        await until(lambda: age() > 0.05, "the age is reported")
        first = age()
        await until(lambda: age() > first, "the age grows")
        assert age() <= time() - began + 0.001  # ids have a resolution of a millisecond
        stream.failure = None
        await until(lambda: not outbox.entries, "the outbox is empty")
        await until(lambda: age() == 0, "the age is 0 again")


@in_virtual_time
async def test_the_age_is_reported_while_a_long_outbox_is_emptied() -> None:
    """While the relay empties a long outbox batch by batch, the metric is the age of the oldest entry, not 0."""
    outbox = MemoryOutboxStore([history_row(n) for n in range(1_200)])
    stream = ListeningStream(outbox)
    async with relaying(outbox, stream) as (_, metrics):
        await until(lambda: len(outbox.entries) < 1_200, "a batch is published")
        await asyncio.sleep(0.01)
        assert outbox.entries
        assert metrics.registry.get_sample_value("pycalc_outbox_backlog") == len(outbox.entries)
        assert (metrics.registry.get_sample_value("pycalc_outbox_oldest_seconds") or 0.0) > 0


@in_virtual_time
async def test_a_relay_without_the_lease_reports_no_backlog() -> None:
    """A relay that has lost the lease reports no backlog."""
    outbox = MemoryOutboxStore([history_row()])
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The broker is down.")
    metrics = Metrics()
    relay = Relay(outbox, stream, metrics, shared=True, clock=now)
    told = metrics.registry.get_sample_value
    await until(lambda: told("pycalc_outbox_backlog") == 1, "one event waits")
    outbox.holder = b"another"
    relay._held_until = 0.0
    await until(lambda: told("pycalc_outbox_backlog") == 0, "the relay has noticed that it lost the lease")
    assert told("pycalc_outbox_oldest_seconds") == 0
    assert told("pycalc_relay_leading") == 0
    await relay.aclose()


@in_virtual_time
async def test_a_relay_updates_its_figures_at_each_failure() -> None:
    """A relay that fails to publish updates the metrics of the outbox at each try, although it releases the lease."""
    outbox = MemoryOutboxStore([history_row(n) for n in range(3)])
    stream = ListeningStream(outbox)
    stream.failure = StreamUnavailable("The password is wrong.")
    metrics = Metrics()
    relay = Relay(outbox, stream, metrics, shared=True, backoff=lambda *_: 1.0, clock=now)
    told = metrics.registry.get_sample_value
    await until(lambda: outbox.released and told("pycalc_outbox_backlog") == 3, "three events wait", step=0.1)
    await outbox.remove([1, 2])
    await until(lambda: told("pycalc_outbox_backlog") == 1, "one event waits", step=0.1)
    assert (told("pycalc_outbox_oldest_seconds") or 0.0) > 0
    await outbox.remove([3])
    await until(lambda: told("pycalc_outbox_backlog") == 0, "no event waits", step=0.1)
    assert told("pycalc_outbox_oldest_seconds") == 0
    await relay.aclose()


@in_virtual_time
async def test_the_leadership_metric_follows_the_lease() -> None:
    """The leadership metric is 0 after the lease is released, and after it expires while the database is away."""
    outbox = MemoryOutboxStore()
    metrics = Metrics()
    relay = Relay(outbox, ListeningStream(outbox), metrics, shared=True, clock=now)
    told = metrics.registry.get_sample_value
    await until(lambda: told("pycalc_relay_leading") == 1, "the relay leads")
    outbox.failure = StoreUnavailable("The database is not available.")
    relay._held_until = now()
    assert told("pycalc_relay_leading") == 0
    outbox.failure = None
    await until(lambda: told("pycalc_relay_leading") == 1, "the relay leads again")
    await relay.aclose()
    assert told("pycalc_relay_leading") == 0


@in_virtual_time
async def test_the_leadership_metric_can_be_read_as_soon_as_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape in another thread may read the leadership metric before the relay's constructor has returned."""
    metrics, values = Metrics(), list[float]()
    monkeypatch.setattr(metrics.relay_leading, "set_function", lambda function: values.append(float(function())))
    relay = Relay(MemoryOutboxStore(), ListeningStream(MemoryOutboxStore()), metrics, shared=False, clock=now)
    assert values == [1]
    await relay.aclose()


@in_virtual_time
async def test_an_idle_relay_that_shares_no_outbox_still_leads() -> None:
    """A relay that shares its outbox with no other process, as with SQLite, leads until it is closed.

    While it is idle, it renews no lease, and its leadership metric is 1 nevertheless.
    """
    outbox = MemoryOutboxStore()
    metrics = Metrics()
    relay = Relay(outbox, ListeningStream(outbox), metrics, shared=False, clock=now)
    told = metrics.registry.get_sample_value
    await until(lambda: told("pycalc_relay_leading") == 1, "the relay leads")
    await asyncio.sleep(120)
    assert told("pycalc_relay_leading") == 1
    await relay.aclose()
    assert told("pycalc_relay_leading") == 0
