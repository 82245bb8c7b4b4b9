"""Isolation of users: no user can see, change or detect the data of another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.harness.accounts import PASSWORD, Person, new_admin, new_person
from tests.harness.servers import pycalc

NOWHERE = "019aab12-7c00-7123-8456-426614174000"


@dataclass(frozen=True, slots=True)
class Owner:
    """A user with a session, an API key, calculations, and a cursor into the user's history."""

    person: Person
    session: dict[str, str]
    key: dict[str, str]
    calculations: tuple[str, ...]
    cursor: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return texts that no other user may see: ids, email address, tokens, the key's name and prefix, cursor."""
        return (
            self.person.id,
            f"{self.person.name}@example.com",
            *self.session.values(),
            *(self.key[name] for name in ("id", "key", "prefix", "name")),
            *self.calculations,
            self.cursor,
        )


def owner(client: httpx.Client, person: Person, number: int) -> Owner:
    """Open a session for a person, make an API key and three calculations, and return all of these."""
    login = {"username": person.name, "password": PASSWORD}
    session = client.post("/login", json=login).raise_for_status().json()
    key = client.post("/me/keys", headers=person.headers, json={"name": f"key of {person.id}"}).json()
    operations = [{"operation": "fibonacci", "input": {"n": number + place}} for place in range(2)]
    batch = client.post("/batch", headers=person.headers, json={"operations": operations}).raise_for_status().json()
    single = client.get(f"/factorial/{number}", headers=person.headers).json()
    made = (*(entry["id"] for entry in batch["results"]), single["id"])
    page = client.get("/secure-history?limit=1", headers=person.headers).json()
    told = {name: session[name] for name in ("access_token", "refresh_token")}
    return Owner(person, told, key, made, page["next_cursor"])


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx.Client]:
    """Run a service without an admin for this module, and yield a client of it."""
    with pycalc(data=data) as server, httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def owners(client: httpx.Client, data: Path) -> dict[str, Owner]:
    """Return two users and the admin, each with data."""
    admin = new_admin(client, data)
    return {
        "ada": owner(client, new_person(client), 100),
        "bob": owner(client, new_person(client), 200),
        "admin": owner(client, admin, 300),
    }


PAIRS = [("ada", "bob"), ("bob", "ada"), ("ada", "admin"), ("bob", "admin")]


@pytest.fixture(params=PAIRS, ids=[f"{intruder} at {of}'s" for intruder, of in PAIRS])
def pair(owners: dict[str, Owner], request: pytest.FixtureRequest) -> tuple[Owner, Owner]:
    """Return an intruder, who is a user, and the owner of data, who is another user or the admin."""
    intruder, of = request.param
    return owners[intruder], owners[of]


def require_silence(answer: httpx.Response, of: Owner) -> None:
    """Assert that neither the body nor the header fields of an answer contain any of the owner's secrets."""
    told = answer.text + str(answer.headers.raw)
    assert [secret for secret in of.secrets if secret in told] == []


def require_same(answer: httpx.Response, unknown: httpx.Response, status: int) -> None:
    """Assert that both answers have this status, the same body except ``instance``, and the same header names."""
    assert (answer.status_code, unknown.status_code) == (status, status)
    assert {**answer.json(), "instance": ""} == {**unknown.json(), "instance": ""}
    assert answer.headers.keys() == unknown.headers.keys()


def test_keys_are_not_there_for_others(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """Another user's key is not listed; deleting it gets 404, as for a missing key, and the key still works."""
    intruder, of = pair
    listed = client.get("/me/keys", headers=intruder.person.headers)
    assert [key["id"] for key in listed.json()] == [intruder.key["id"]]
    require_silence(listed, of)
    removed = client.delete(f"/me/keys/{of.key['id']}", headers=intruder.person.headers)
    require_same(removed, client.delete(f"/me/keys/{NOWHERE}", headers=intruder.person.headers), 404)
    assert client.get("/me", headers={"Authorization": f"Bearer {of.key['key']}"}).json()["id"] == of.person.id


def test_an_admin_has_no_hold_of_keys(client: httpx.Client, owners: dict[str, Owner]) -> None:
    """An admin can neither see nor delete other users' keys."""
    admin, of = owners["admin"], owners["ada"]
    require_silence(client.get("/me/keys", headers=admin.person.headers), of)
    assert client.delete(f"/me/keys/{of.key['id']}", headers=admin.person.headers).status_code == 404
    assert client.get("/me", headers={"Authorization": f"Bearer {of.key['key']}"}).status_code == 200


def test_the_history_is_ones_own(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """With another user's cursor, users see only their own history. A filter by another or unknown user gets 403."""
    intruder, of = pair
    ids: list[set[str]] = []
    for query in ({"limit": "1000"}, {"limit": "1000", "cursor": of.cursor}):
        page = client.get("/secure-history", headers=intruder.person.headers, params=query).raise_for_status()
        ids.append({item["id"] for item in page.json()["items"]})
        require_silence(page, of)
    assert ids[0] >= set(intruder.calculations)
    assert ids[1] == {each for each in ids[0] if each < of.calculations[-1]}  # the cursor stands for this id
    theirs, nobodys = (
        client.get("/secure-history", headers=intruder.person.headers, params={"user": name})
        for name in (of.person.name, "nobody")
    )
    require_same(theirs, nobodys, 403)


def test_a_calculation_is_ones_own(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """Reading another user's calculation or its digits gets 404, exactly like an unknown id."""
    intruder, of = pair
    for path in ("/calculations/{}", "/calculations/{}/digits"):
        theirs, nobodys = (
            client.get(path.format(name), headers=intruder.person.headers) for name in (of.calculations[0], NOWHERE)
        )
        require_same(theirs, nobodys, 404)


def test_events_are_ones_own(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """An event stream that resumes after another user's event has only the caller's own events."""
    intruder, of = pair
    client.get("/fibonacci/7", headers=of.person.headers).raise_for_status()
    made = client.get("/fibonacci/8", headers=intruder.person.headers).json()["id"]
    headers = {**intruder.person.headers, "Last-Event-ID": of.calculations[0]}
    told: list[dict[str, object]] = []
    with client.stream("GET", "/events", headers=headers) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
                if told[-1]["id"] == made:
                    break
    assert {event["subject"] for event in told} == {intruder.person.id}
    assert not {str(event["id"]) for event in told} & set(of.calculations)


def test_accounts_are_the_admins(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """A user gets 403 for changing or deleting another account, whether it exists or not, and nothing changes."""
    intruder, of = pair
    headers = intruder.person.headers
    before = client.get("/me", headers=of.person.headers).json()
    require_silence(client.get("/users", headers=headers), of)
    assert client.get("/users", headers=headers).status_code == 403
    changes: list[dict[str, object]] = [{"role": "admin"}, {"disabled": True}, {}]
    for change in changes:
        theirs, nobodys = (
            client.patch(f"/users/{name}", headers=headers, json=change) for name in (of.person.name, "nobody")
        )
        require_same(theirs, nobodys, 403)
    theirs, nobodys = (client.delete(f"/users/{name}", headers=headers) for name in (of.person.name, "nobody"))
    require_same(theirs, nobodys, 403)
    own = client.get("/me", headers=headers)
    assert own.json()["id"] == intruder.person.id
    require_silence(own, of)
    assert client.get("/me", headers=of.person.headers).json() == before


def test_sessions_are_ones_own(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """Logging out ends no session of another user."""
    intruder, of = pair
    login = {"username": intruder.person.name, "password": PASSWORD}
    own = client.post("/login", json=login).json()
    headers = {"Authorization": f"Bearer {own['access_token']}"}
    assert client.post("/logout", headers=headers).status_code == 204
    assert client.get("/me", headers=headers).status_code == 401
    for token in (of.session["access_token"], of.person.token):
        assert client.get("/me", headers={"Authorization": f"Bearer {token}"}).json()["id"] == of.person.id


def test_the_list_of_sessions_is_ones_own(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """A user does not see another user's session; ending it gets 404, exactly like an unknown id."""
    intruder, of = pair
    require_silence(client.get("/me/sessions", headers=intruder.person.headers), of)
    theirs = client.get("/me/sessions", headers=of.person.headers).json()[0]["id"]
    ended, unknown = (
        client.delete(f"/me/sessions/{name}", headers=intruder.person.headers) for name in (theirs, NOWHERE)
    )
    require_same(ended, unknown, 404)
    assert theirs in {session["id"] for session in client.get("/me/sessions", headers=of.person.headers).json()}


def test_password_resets_are_the_admins(client: httpx.Client, owners: dict[str, Owner]) -> None:
    """A user gets 403 for resetting the password or ending the sessions of another user, existing or not."""
    intruder, of = owners["ada"], owners["bob"]
    for method, path in (("POST", "/users/{}/password-reset"), ("DELETE", "/users/{}/sessions")):
        theirs, nobodys = (
            client.request(method, path.format(name), headers=intruder.person.headers)
            for name in (of.person.name, "nobody")
        )
        require_same(theirs, nobodys, 403)
    assert client.get("/me", headers=of.person.headers).status_code == 200


def test_a_cached_result_tells_nothing_of_who_made_it(client: httpx.Client, pair: tuple[Owner, Owner]) -> None:
    """A cached result gets a new calculation id for each caller, and reveals nothing about the first caller."""
    intruder, of = pair
    first = client.get("/fibonacci/9000", headers=of.person.headers).json()
    second = client.get("/fibonacci/9000", headers=intruder.person.headers)
    assert (second.json()["cached"], second.json()["result"]) == (True, first["result"])
    assert second.json()["id"] != first["id"]
    require_silence(second, of)
