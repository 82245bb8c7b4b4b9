"""Every combination of database, cache and stream: calculations are cached, published, counted and kept."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.backends import DATABASES, STREAMS
from tests.harness.accounts import Person, new_person
from tests.harness.servers import background, pycalc
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.anyio

# The time limit for a first event, which includes creating topics, groups and subscriptions.
CONNECTED_SECONDS = 60.0
Combination = tuple[str, str, str]
_BROKERS = ("memory", "kafka", "pubsub")
_ALL: list[Combination] = list(product(DATABASES, ("memory", "redis"), _BROKERS))
_ALONE: Combination = ("sqlite", "memory", "memory")
# The combinations of a group run at the same time, because they mostly wait.
GROUPS = {
    "in one process": [_ALONE],
    **{stream: [each for each in _ALL if each[2] == stream and each != _ALONE] for stream in _BROKERS},
}


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == "in one process" else pytest.mark.programs) for name in GROUPS]
)
def combinations(request: pytest.FixtureRequest) -> dict[Combination, dict[str, Any]]:
    """Return settings for each combination of a group, with a new database, Redis namespace and topic for each."""
    settings_of: dict[Combination, dict[str, Any]] = {}
    for database, cache, stream in GROUPS[request.param]:
        settings = {"stream_url": STREAMS[stream](request, f"combination-{secrets.token_hex(6)}")}
        if database == "postgresql":
            template = request.getfixturevalue("migrated")
            settings["database_url"] = request.getfixturevalue("postgres_server").new_database(template)
        if cache == "redis":
            url = request.getfixturevalue("real_redis").url
            settings["cache_url"] = f"{url}?namespace=test-{secrets.token_hex(8)}"
        settings_of[database, cache, stream] = settings
    return settings_of


@contextmanager
def service(data: Path, settings: dict[str, Any]) -> Iterator[httpx.Client]:
    """Run a server and, with PostgreSQL and a broker, a separate consumer; yield a client."""
    with ExitStack() as stack:
        server = stack.enter_context(pycalc(data=data, **settings))
        if "database_url" in settings and settings["stream_url"] != "memory://":
            stack.enter_context(background("consume", **settings))
        yield stack.enter_context(httpx.Client(base_url=server.url, timeout=15))


def calculate(client: httpx.Client, person: Person, n: int) -> dict[str, Any]:
    """Request a Fibonacci number, and return the answer."""
    answer: dict[str, Any] = client.get(f"/fibonacci/{n}", headers=person.headers).raise_for_status().json()
    return answer


def counted(client: httpx.Client, person: Person) -> list[int]:
    """Return the number of calculations and of cache hits in a user's usage totals."""
    items = client.get("/usage", headers=person.headers).raise_for_status().json()["items"]
    return [sum(item[name] for item in items) for name in ("count", "cached")]


def first_event(client: httpx.Client, person: Person) -> dict[str, Any]:
    """Return the oldest event of a user."""
    headers = {**person.headers, "Last-Event-ID": "00000000-0000-7000-8000-000000000000"}
    with client.stream("GET", "/events", headers=headers) as answer:
        line = next(line for line in answer.iter_lines() if line.startswith("data:"))
    event: dict[str, Any] = json.loads(line.removeprefix("data:"))
    return event


def ready(client: httpx.Client) -> bool:
    """Return whether every dependency is ready."""
    answer = client.get("/readyz")
    return answer.status_code == 200 and answer.json()["status"] == "ok"


def try_everything(settings: dict[str, Any], data: Path) -> None:
    """Check a service's cache, events, usage totals and readiness; restart the service, and check its data."""
    with service(data, settings) as client:
        person = new_person(client)
        made = calculate(client, person, 300)
        assert not made["cached"]
        assert calculate(client, person, 300)["cached"]
        assert first_event(client, person)["id"] == made["id"]
        wait_until(lambda: counted(client, person) == [2, 1], "both are counted", CONNECTED_SECONDS)
        wait_until(lambda: ready(client), "every dependency is well")
    with service(data, settings) as client:
        history = client.get("/secure-history", headers=person.headers).raise_for_status().json()["items"]
        assert [item["cached"] for item in history] == [True, False]
        calculate(client, person, 301)
        wait_until(lambda: counted(client, person) == [3, 1], "only the third is counted now", CONNECTED_SECONDS)
        wait_until(lambda: ready(client), "every dependency is well")


async def test_everything_works(combinations: dict[Combination, dict[str, Any]], tmp_path: Path) -> None:
    """Calculation, cache hit, event and totals work in each combination; a restart keeps history and totals."""
    with ThreadPoolExecutor() as threads:
        tries = {
            combination: threads.submit(try_everything, settings, tmp_path / "-".join(combination))
            for combination, settings in combinations.items()
        }
    assert {combination: error for combination, each in tries.items() if (error := each.exception())} == {}
