"""The short form of each drill of the streams: the code of ``make drill`` in a size for every test run.

Durations depend on how busy the machine is, so they are judged in the full size only.
"""

from __future__ import annotations

import secrets

import pytest

from drills.streams.broker_errors import deleted_topic_at
from drills.streams.killing import consumer_killing_at
from drills.streams.outages import broker_stops_at
from drills.streams.poison import PLAIN, poison_at
from drills.streams.scene import Broker, Place
from drills.support.finding import Finding
from tests.harness.kafka import Kafka

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures("anyio_backend")]  # The emulator's fixture needs it.
BUSY_MACHINE = {"slower", "drained too late"}
# Number of clients for each user: 80 requests a second in all, so that other tests can run beside them.
CONNECTIONS = 1
# Seconds after which a Pub/Sub consumer has noticed that its subscription is deleted.
LOOKED_AT = 5.0


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    """Return the broker that the test names."""
    running: Broker = request.getfixturevalue(request.param)
    return running


on_kafka = pytest.mark.parametrize("broker", ["real_kafka"], indirect=True)
on_both = pytest.mark.parametrize("broker", ["real_kafka", "real_pubsub"], indirect=True)


def new_place(broker: Broker, database_url: str, options: str = "") -> Place:
    """Return a topic of the test's own."""
    return Place(broker, broker.url(f"drill-{secrets.token_hex(6)}", options), database_url, CONNECTIONS)


def fine(finding: Finding) -> None:
    """Check that a drill found no fault."""
    assert set(finding.faults) <= BUSY_MACHINE, finding


@on_both
def test_a_broker_that_is_away_costs_nothing_but_a_backlog(broker: Broker, postgres_url: str) -> None:
    """With the broker away under load no request fails, /readyz says degraded, and every event arrives afterwards."""
    fine(broker_stops_at(new_place(broker, postgres_url), 1.0, 1))


@on_kafka
def test_a_consumer_that_is_killed_counts_nothing_twice(broker: Broker, postgres_url: str) -> None:
    """If a consumer is killed, and its group rebalanced, the totals equal the history."""
    fine(consumer_killing_at(new_place(broker, postgres_url, "session.timeout.ms=2000"), 1))


@on_kafka
def test_a_poison_event_is_dead_lettered(broker: Broker, postgres_url: str) -> None:
    """A poison event is dead-lettered after five tries and can be requeued, a foreign message at once.

    Other events are not delayed.
    """
    fine(poison_at(new_place(broker, postgres_url, PLAIN), 0.5))


@on_both
def test_a_topic_that_is_deleted_is_degradation(broker: Broker, postgres_url: str) -> None:
    """A deleted topic is reported by log, metric and /readyz; requests go on, and afterwards everything is counted."""
    in_kafka = isinstance(broker, Kafka)
    place = new_place(broker, postgres_url, "create=false" if in_kafka else "")
    fine(deleted_topic_at(place, 1.0 if in_kafka else LOOKED_AT))
