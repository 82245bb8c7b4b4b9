"""The drills of ``make drill`` and ``make soak`` on event streams, in a size that every test run can afford.

Slowness is not a failure here, because other tests may keep the machine busy.
"""

from __future__ import annotations

import secrets

import pytest

from drills.streams.broker_errors import deleted_topic_at
from drills.streams.killing import consumer_killing_at
from drills.streams.outages import broker_stops_at
from drills.streams.poison import PLAIN, poison_at
from drills.streams.scene import Broker, Place, place_on
from drills.streams.soak import soak_at
from drills.support.finding import Finding
from tests.harness.kafka import Kafka
from tests.harness.postgres import postgres
from tests.harness.redis import redis

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures("anyio_backend")]  # the fixture of the emulator needs it
BUSY_MACHINE = {"slower", "drained too late"}
# Connections of each user, 80 requests a second in all, so that other tests can run at the same time.
CONNECTIONS = 1
# Seconds after which a Pub/Sub consumer has certainly noticed that its subscription was deleted.
LOOKED_AT = 5.0


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    """Return the broker for which the test is parametrized."""
    running: Broker = request.getfixturevalue(request.param)
    return running


on_kafka = pytest.mark.parametrize("broker", ["real_kafka"], indirect=True)
on_both = pytest.mark.parametrize("broker", ["real_kafka", "real_pubsub"], indirect=True)


def new_place(broker: Broker, database_url: str, options: str = "") -> Place:
    """Return a place for one drill: a new topic of the broker, and the database with this URL."""
    return Place(broker, broker.url(f"drill-{secrets.token_hex(6)}", options), database_url, CONNECTIONS)


def fine(finding: Finding) -> None:
    """Assert that a drill found no fault except slowness, which a busy machine may cause."""
    assert set(finding.faults) <= BUSY_MACHINE, finding


@on_both
def test_a_broker_that_is_away_costs_nothing_but_a_backlog(broker: Broker, postgres_url: str) -> None:
    """While the broker is away, no request fails and /readyz says degraded; afterwards every event arrives."""
    fine(broker_stops_at(new_place(broker, postgres_url), 1.0, 1))


@on_kafka
def test_a_consumer_that_is_killed_counts_nothing_twice(broker: Broker, postgres_url: str) -> None:
    """If a consumer is killed and its group is rebalanced, the usage totals still equal the history."""
    fine(consumer_killing_at(new_place(broker, postgres_url, "session.timeout.ms=2000"), 1))


@on_kafka
def test_a_poison_event_is_dead_lettered(broker: Broker, postgres_url: str) -> None:
    """An event that the broker refuses is dead-lettered after its retries and can be requeued; other events arrive.

    A message in the topic that is no event of the service is dead-lettered at once.
    """
    fine(poison_at(new_place(broker, postgres_url, PLAIN), 0.5))


@on_both
def test_a_topic_that_is_deleted_is_degradation(broker: Broker, postgres_url: str) -> None:
    """If the topic is deleted, requests still succeed, and the log, a metric and /readyz report the error.

    After the repair, every event is counted in the usage totals.
    """
    in_kafka = isinstance(broker, Kafka)
    place = new_place(broker, postgres_url, "create=false" if in_kafka else "")
    fine(deleted_topic_at(place, 1.0 if in_kafka else LOOKED_AT))


@on_kafka
def test_a_soak_loses_nothing(broker: Broker) -> None:
    """If PostgreSQL and Redis restart and Kafka pauses, no calculation or event is lost, and none is counted twice.

    Memory, file descriptors and latencies are judged only by ``make soak``, which takes an hour.
    """
    with postgres() as database, redis() as cache:
        finding = soak_at(place_on(broker, database), database, cache, 12.0, clients=8, restarts=1)
    assert set(finding.faults) <= {"memory grows", "descriptors grow", "slower"}, finding
