"""The short form of each drill of the streams: the same code as ``make drill``, in a size for every test run.

How long things take depends on how busy the machine is: that is judged in the full size only.
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

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures("anyio_backend")]  # which the emulator's fixture needs
BUSY_MACHINE = {"slower", "drained too late"}
CONNECTIONS = 1
"""Clients of each user: 80 requests a second in all, so that other tests have something of the machine."""
LOOKED_AT = 5.0
"""Seconds in which a consumer of Pub/Sub has looked whether its subscription still gets anything."""


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
    """A second under load: no request fails, /readyz says degraded, every event arrives once it is back."""
    fine(broker_stops_at(new_place(broker, postgres_url), 1.0, 1))


@on_kafka
def test_a_consumer_that_is_killed_counts_nothing_twice(broker: Broker, postgres_url: str) -> None:
    """While its group is rebalanced: the totals equal the history."""
    fine(consumer_killing_at(new_place(broker, postgres_url, "session.timeout.ms=2000"), 1))


@on_kafka
def test_a_poison_event_is_dead_lettered(broker: Broker, postgres_url: str) -> None:
    """After five tries, and requeued by the command; a message that is no event at once; the rest flows on."""
    fine(poison_at(new_place(broker, postgres_url, PLAIN), 0.5))


@on_both
def test_a_topic_that_is_deleted_is_degradation(broker: Broker, postgres_url: str) -> None:
    """The log, a metric and /readyz tell of it, and requests go on; then everything is counted."""
    in_kafka = isinstance(broker, Kafka)
    place = new_place(broker, postgres_url, "create=false" if in_kafka else "")
    fine(deleted_topic_at(place, 1.0 if in_kafka else LOOKED_AT))
