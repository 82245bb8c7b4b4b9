"""The history over HTTP: pages, filters, and access rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.accounts import Person, new_admin, new_person, registration
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Run a service for this module; yield a client of it, whose header X-Test-Data names the data folder."""
    data = tmp_path_factory.mktemp("data")
    with pycalc(data=data) as server, httpx.Client(base_url=server.url, timeout=30) as opened:
        opened.headers["X-Test-Data"] = str(data)
        yield opened


@pytest.fixture(scope="module")
def admin(client: httpx.Client) -> Person:
    """Register the service's admin."""
    return new_admin(client, Path(client.headers["X-Test-Data"]))


def calculate(client: httpx.Client, person: Person, *paths: str) -> list[str]:
    """Make calculations, and return their ids."""
    return [client.get(path, headers=person.headers).raise_for_status().json()["id"] for path in paths]


def history(client: httpx.Client, person: Person, **filters: str | int) -> list[dict[str, Any]]:
    """Return the items of one page of a user's history."""
    answer = client.get("/secure-history", headers=person.headers, params=filters)
    items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return items


def ids(items: list[dict[str, Any]]) -> list[str]:
    """Return the ids of items."""
    return [item["id"] for item in items]


def test_pages_have_no_gap_and_no_duplicate_while_rows_arrive(client: httpx.Client) -> None:
    """While calculations are added, consecutive pages have no gaps and no duplicates."""
    person = new_person(client)
    made = calculate(client, person, *(f"/fibonacci/{n}" for n in range(25)))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": "7", **({"cursor": cursor} if cursor else {})}
        page = client.get("/secure-history", headers=person.headers, params=parameters).raise_for_status().json()
        seen += ids(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["items"]) == 7
        calculate(client, person, "/factorial/5")
    assert seen == made[::-1]


@pytest.mark.parametrize(("limit", "more"), [(2, True), (3, False), (4, False)])
def test_a_page_that_is_the_last_has_no_cursor(client: httpx.Client, limit: int, more: bool) -> None:
    """A page has a cursor for the next page only if there are more calculations."""
    person = new_person(client)
    calculate(client, person, "/fibonacci/1", "/fibonacci/2", "/fibonacci/3")
    page = client.get("/secure-history", headers=person.headers, params={"limit": limit}).json()
    assert (page["next_cursor"] is not None) == more
    assert len(page["items"]) == min(limit, 3)


def test_an_item_tells_the_calculation(client: httpx.Client) -> None:
    """An item has all documented members; the expected result and digest come from bc and sha256sum."""
    person = new_person(client)
    (made,) = calculate(client, person, "/pow/2/100")
    (item,) = history(client, person)
    assert {name: value for name, value in item.items() if name not in ("elapsed_ms", "created_at")} == {
        "id": made,
        "operation": "pow",
        "input": {"x": 2, "y": 100},
        "result": "1267650600228229401496703205376",
        "digits": 31,
        "exact": True,
        "leading": "12676506002282294014",
        "trailing": "28229401496703205376",
        "sha256": "5ee7924f903dfefa9253b5f63147f53433516da9daf01f6e729331dcf31b28c6",
        "cached": False,
        "user": person.name,
    }


def test_the_operation_filters(client: httpx.Client) -> None:
    """The filter by operation keeps only that operation, in the same order."""
    person = new_person(client)
    made = calculate(client, person, "/pow/2/3", "/fibonacci/10", "/pow/2/4", "/factorial/3")
    assert ids(history(client, person, operation="pow")) == [made[2], made[0]]
    assert ids(history(client, person, operation="factorial")) == [made[3]]


def test_since_and_until_bound_to_the_millisecond(client: httpx.Client) -> None:
    """``since`` includes its millisecond, and ``until`` does not; ``+00:00`` means the same as ``Z``."""
    person = new_person(client)
    calculate(client, person, *(f"/fibonacci/{n}" for n in range(30)))
    items = history(client, person)
    times = [item["created_at"] for item in items]
    assert times == sorted(times, reverse=True)
    for moment in {times[0], times[10], times[29]}:
        assert ids(history(client, person, since=moment)) == [i["id"] for i in items if i["created_at"] >= moment]
        assert ids(history(client, person, until=moment)) == [i["id"] for i in items if i["created_at"] < moment]
    window = history(client, person, since=times[20], until=times[10])
    assert ids(window) == [item["id"] for item in items if times[20] <= item["created_at"] < times[10]]
    elsewhere = times[10].replace("Z", "+00:00")
    assert ids(history(client, person, since=elsewhere)) == ids(history(client, person, since=times[10]))
    assert history(client, person, since="9999-12-31T23:59:59Z") == []
    assert history(client, person, until="0001-01-01T00:00:00Z") == []
    assert ids(history(client, person, since="0001-01-01T00:00:00Z")) == ids(items)


def test_an_admin_reads_one_users_history_also_after_the_account_went(client: httpx.Client, admin: Person) -> None:
    """An admin selects a user by name in any letter case; a deleted account is found only by its id."""
    person = new_person(client)
    before = calculate(client, person, "/fibonacci/1", "/fibonacci/2")
    assert ids(history(client, admin, user=person.name.upper())) == before[::-1]
    assert client.delete(f"/users/{person.name}", headers=admin.headers).status_code == 204
    assert history(client, admin, user=person.name) == []
    assert client.post("/register", json=registration(person.name)).status_code == 409

    def names() -> set[str]:
        return {item["user"] for item in history(client, admin, user=person.id)}

    wait_until(lambda: names() == {"(deleted)"}, "the name is gone from the history")
    assert ids(history(client, admin, user=person.id)) == before[::-1]
    assert history(client, admin, user="nobody-of-that-name") == []


def test_users_see_their_own_and_admins_everyones(client: httpx.Client, admin: Person) -> None:
    """A user reads only their own history, and an admin everyone's; the page states the caller's role."""
    ada, bob = new_person(client), new_person(client)
    made = calculate(client, ada, "/fibonacci/1") + calculate(client, bob, "/fibonacci/1")
    assert ids(history(client, ada)) == ids(history(client, ada, user=ada.name.upper())) == made[:1]
    refused = client.get("/secure-history", headers=ada.headers, params={"user": bob.name})
    assert (refused.status_code, refused.json()["type"]) == (403, "/docs/problems#forbidden")
    assert ids(history(client, admin, limit=2)) == made[::-1]
    assert client.get("/secure-history", headers=admin.headers).json()["role"] == "admin"
    assert client.get("/secure-history", headers=ada.headers).json()["role"] == "user"


def test_a_cached_answer_is_recorded_as_such(client: httpx.Client) -> None:
    """A repeated calculation is recorded separately, as cached and with the same result."""
    person = new_person(client)
    first, second = calculate(client, person, "/factorial/333", "/factorial/333")
    items = history(client, person)
    assert ids(items) == [second, first]
    assert items[0]["cached"]
    assert items[0]["sha256"] == items[1]["sha256"]
