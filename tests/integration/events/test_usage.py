"""Usage totals: they equal the history despite repeated deliveries and crashes."""

from __future__ import annotations

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.accounts import Person, new_admin, new_person
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until

Key = tuple[str, str]


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx.Client]:
    """Run a service for this module; yield a client of it."""
    with pycalc(data=data) as server, httpx.Client(base_url=server.url, timeout=15) as opened:
        yield opened


def totals(client: httpx.Client, person: Person, **parameters: str) -> list[dict[str, Any]]:
    """Return the items of a user's usage report."""
    answer = client.get("/usage", headers=person.headers, params=parameters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def counted(client: httpx.Client, person: Person) -> int:
    """Return the number of calculations in a user's usage totals."""
    return sum(item["count"] for item in totals(client, person))


def of_history(client: httpx.Client, person: Person) -> dict[Key, Counter[str]]:
    """Return a user's expected totals by day and operation, computed from the history."""
    items = client.get("/secure-history?limit=1000", headers=person.headers).json()["items"]
    sums: dict[Key, Counter[str]] = defaultdict(Counter)
    for item in items:
        delivered = int(item["digits"]) if item["sha256"] else len(item["leading"]) + len(item["trailing"])
        sums[item["created_at"][:10], item["operation"]] += Counter(
            count=1, cached=int(item["cached"]), digits=delivered, us=round(item["elapsed_ms"] * 1000)
        )
    return sums


def of_usage(client: httpx.Client, person: Person) -> dict[Key, Counter[str]]:
    """Return the reported totals in the form of ``of_history``."""
    return {
        (item["day"], item["operation"]): Counter(
            count=item["count"],
            cached=item["cached"],
            digits=int(item["digits"]),
            us=round(item["compute_ms"] * 1000),
        )
        for item in totals(client, person)
    }


def test_the_totals_equal_the_history(client: httpx.Client) -> None:
    """The totals by day and operation equal the history's counts, cache hits, digits and times."""
    person = new_person(client)
    for path in ("/fibonacci/10", "/fibonacci/10", "/factorial/100", "/pow/2/0.5", "/pow/2/1000000000?view=summary"):
        client.get(path, headers=person.headers).raise_for_status()
    operations = [{"operation": "fibonacci", "input": {"n": n}} for n in range(50)]
    client.post("/batch", json={"operations": operations}, headers=person.headers).raise_for_status()
    wait_until(lambda: counted(client, person) == 55, "all are counted")
    assert of_usage(client, person) == of_history(client, person)


def test_everybody_sees_their_own_and_an_admin_the_sum(client: httpx.Client, data: Path) -> None:
    """A user gets 403 for another's totals; an admin sees one user's totals or the sum of all.

    The totals of a deleted account stay in the sum, and its name selects nothing.
    """
    admin, ada, bob = new_admin(client, data), new_person(client), new_person(client)
    earlier = counted(client, admin)
    for person in (ada, ada, bob):
        client.get("/fibonacci/20", headers=person.headers).raise_for_status()
    wait_until(lambda: counted(client, ada) == 2 and counted(client, bob) == 1, "all are counted")
    assert client.get(f"/usage?user={bob.name}", headers=ada.headers).status_code == 403
    assert totals(client, ada, user=ada.name) == totals(client, ada)
    assert totals(client, admin, user=bob.name) == totals(client, bob)
    assert counted(client, admin) == earlier + 3
    assert client.delete(f"/users/{bob.name}", headers=admin.headers).status_code == 204
    assert totals(client, admin, user=bob.name) == []
    assert counted(client, admin) == earlier + 3


def test_days_select(client: httpx.Client) -> None:
    """``since`` includes its day, ``until`` does not; an invalid day or parameter gets 422."""
    person = new_person(client)
    client.get("/fibonacci/20", headers=person.headers).raise_for_status()
    wait_until(lambda: counted(client, person) == 1, "the calculation is counted")
    ((day,),) = [[item["day"] for item in totals(client, person)]]
    assert len(totals(client, person, since=day)) == 1
    assert totals(client, person, until=day) == []
    assert client.get("/usage?since=yesterday", headers=person.headers).status_code == 422
    assert client.get("/usage?limit=1", headers=person.headers).status_code == 422
    assert client.get("/usage").status_code == 401


def test_a_crash_neither_loses_nor_repeats_a_count(tmp_path: Path) -> None:
    """Although the service is killed four times, the totals of 200 calculations equal the history."""
    person: Person | None = None
    for round_ in range(4):
        with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url, timeout=15) as client:
            person = person or new_person(client)
            for n in range(20):
                body = {"operations": [{"operation": "fibonacci", "input": {"n": n + k}} for k in range(round_ + 1)]}
                client.post("/batch", json=body, headers=person.headers).raise_for_status()
            os.kill(server.pid, signal.SIGKILL)
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url, timeout=15) as client:
        assert person is not None
        session = person
        wait_until(lambda: counted(client, session) == 20 * 10, "all are counted")
        assert of_usage(client, session) == of_history(client, session)
        metrics = client.get("/metrics").text
        assert "pycalc_dead_letters_total{" not in metrics
