"""Server-sent events over a real server: live, resumable, and only those that the caller may see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.harness.accounts import Person, new_admin, new_admin_by, new_person
from tests.harness.servers import pycalc

SECONDS = 15


class ServerSentEvent(NamedTuple):
    """A server-sent event."""

    id: str
    data: dict[str, Any]


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx.Client]:
    """Run a service for this module, which has no admin yet; yield a client of it."""
    with pycalc(data=data) as server, httpx.Client(base_url=server.url, timeout=SECONDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def admin(client: httpx.Client, data: Path) -> Person:
    """Register the first admin."""
    return new_admin(client, data)


@contextmanager
def listening(client: httpx.Client, person: Person, last_id: str | None = None) -> Iterator[Iterator[ServerSentEvent]]:
    """Open a user's event stream during the ``with`` block; yield its events."""
    headers = {**person.headers, **({} if last_id is None else {"Last-Event-ID": last_id})}
    with client.stream("GET", "/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "private, no-store"
        lines = answer.iter_lines()
        assert next(lines).startswith((": connected", "id: "))
        assert next(lines) == ""
        yield _events(lines)


def _events(lines: Iterator[str]) -> Iterator[ServerSentEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield ServerSentEvent(fields["id"], json.loads(fields["data"]))
            fields = {}


def calculate(client: httpx.Client, person: Person, *paths: str) -> list[str]:
    """Make calculations, and return their ids."""
    return [client.get(path, headers=person.headers).raise_for_status().json()["id"] for path in paths]


def test_a_calculation_is_a_live_event_under_its_own_id(client: httpx.Client) -> None:
    """A calculation's event has the calculation's id, and the history item as its data."""
    person = new_person(client)
    with listening(client, person) as events:
        (made,) = calculate(client, person, "/fibonacci/10")
        told = next(events)
    (item,) = client.get("/secure-history", headers=person.headers).json()["items"]
    assert told.id == told.data["id"] == made
    assert (told.data["specversion"], told.data["type"]) == ("1.0", "pycalc.operation.completed.v1")
    assert told.data["subject"] == person.id
    assert told.data["data"] == item


def test_resuming_leaves_no_gap_and_repeats_nothing(client: httpx.Client) -> None:
    """After resuming by Last-Event-ID, missed and live events arrive once each, in the order of the history."""
    person = new_person(client)
    made = calculate(client, person, *(f"/fibonacci/{n}" for n in range(10)))
    with listening(client, person, last_id=made[2]) as events:
        made += calculate(client, person, *(f"/factorial/{n}" for n in range(10)))
        assert [next(events).id for _ in range(17)] == made[3:]


def test_an_unknown_id_resumes_where_it_would_stand(client: httpx.Client) -> None:
    """A client that resumes after an unknown id gets all events with higher ids."""
    person = new_person(client)
    made = calculate(client, person, "/fibonacci/1", "/fibonacci/2")
    with listening(client, person, last_id="00000000-0000-7000-8000-000000000000") as events:
        assert [next(events).id for _ in range(2)] == made


def test_a_user_receives_their_own_events_and_an_admin_all(client: httpx.Client, admin: Person) -> None:
    """A user receives only their own events; an admin receives all events."""
    ada, bob = new_person(client), new_person(client)
    with listening(client, ada) as hers, listening(client, admin) as everyones:
        made = calculate(client, bob, "/fibonacci/1")
        made += calculate(client, ada, "/fibonacci/2")
        made += calculate(client, bob, "/fibonacci/3")
        made += calculate(client, ada, "/fibonacci/4")
        assert [next(hers).id for _ in range(2)] == [made[1], made[3]]
        assert [next(everyones).id for _ in range(4)] == made
    with listening(client, ada, last_id=made[0]) as hers:
        assert [next(hers).id for _ in range(2)] == [made[1], made[3]]


def test_listening_needs_a_token(client: httpx.Client) -> None:
    """A request for the stream without a token gets 401."""
    assert client.get("/events").status_code == 401


def test_the_end_of_the_service_ends_the_stream(tmp_path: Path) -> None:
    """When the service stops, an open stream ends without an error and without another event."""
    with httpx.Client(timeout=SECONDS) as client:
        with pycalc(data=tmp_path) as server:
            client.base_url = httpx.URL(server.url)
            person = new_person(client)
            answer = client.send(client.build_request("GET", "/events", headers=person.headers), stream=True)
            lines = answer.iter_lines()
            assert next(lines) == ": connected"
        assert not [line for line in lines if line and not line.startswith(":")]


def test_a_stream_begins_with_where_it_stands(client: httpx.Client) -> None:
    """A stream begins with the id of the newest event, so that a client can resume even before its first event."""
    person = new_person(client)
    (before,) = calculate(client, person, "/fibonacci/1")
    with client.stream("GET", "/events", headers=person.headers) as answer:
        assert next(answer.iter_lines()) == f"id: {before}"
    missed = calculate(client, person, "/fibonacci/2")
    with listening(client, person, last_id=before) as events:
        assert next(events).id == missed[0]


def test_a_deleted_admin_hears_nothing_more(client: httpx.Client, admin: Person) -> None:
    """If an admin's account is deleted, the admin's open stream ends before the next event."""
    second, bob = new_admin_by(client, admin), new_person(client)
    with listening(client, second) as events:
        calculate(client, bob, "/fibonacci/1")
        next(events)
        assert client.delete(f"/users/{second.name}", headers=admin.headers).status_code == 204
        calculate(client, bob, "/fibonacci/2")
        assert list(events) == []


def test_subscribers_are_bounded(client: httpx.Client) -> None:
    """A user's twenty-first event stream is refused with Retry-After."""
    person = new_person(client)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(listening(client, person))
        refused = client.get("/events", headers=person.headers)
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("#overloaded")
        assert refused.headers["Retry-After"] == "5"
