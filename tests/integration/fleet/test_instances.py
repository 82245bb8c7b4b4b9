"""Two instances on one PostgreSQL: a revocation on one soon applies on the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import httpx
import pytest

from tests.harness.accounts import PASSWORD, Person, new_admin, new_person
from tests.harness.postgres import Postgres
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until

# The number of users for each kind of revocation.
AT_ONCE = 5


class Instances(NamedTuple):
    """Clients of the two instances, and an admin."""

    here: httpx.Client
    there: httpx.Client
    admin: Person


@pytest.fixture(scope="module")
def instances(
    postgres_server: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Instances]:
    """Run two instances with the same keys on one database; yield clients and an admin."""
    shared: dict[str, Any] = {
        "database_url": postgres_server.new_database(migrated),
        "secret_keys": "k" * 32,
        "compute_workers": "1",
        "password_keys": "p" * 32,
    }
    data = tmp_path_factory.mktemp("data")
    with (
        pycalc("serve", data, **shared) as first,
        pycalc("serve", None, **shared) as second,
        httpx.Client(base_url=first.url, timeout=30) as here,
        httpx.Client(base_url=second.url, timeout=30) as there,
    ):
        yield Instances(here, there, new_admin(here, data))


def fibonacci(client: httpx.Client, person: Person) -> int:
    """Request a calculation, and return the status."""
    return client.get("/fibonacci/10", headers=person.headers).status_code


def refused(client: httpx.Client, person: Person) -> bool:
    """Return whether an instance refuses a user's token with 401."""
    return fibonacci(client, person) == 401


def logged_out(instances: Instances, person: Person) -> None:
    """End the user's session."""
    assert instances.here.post("/logout", headers=person.headers).status_code == 204


def logged_out_everywhere(instances: Instances, person: Person) -> None:
    """End all of the user's sessions."""
    assert instances.here.post("/logout-all", headers=person.headers).status_code == 204


def ended_from_the_list(instances: Instances, person: Person) -> None:
    """End the user's session by its id."""
    (session,) = instances.here.get("/me/sessions", headers=person.headers).json()
    assert instances.here.delete(f"/me/sessions/{session['id']}", headers=person.headers).status_code == 204


def ended_by_an_admin(instances: Instances, person: Person) -> None:
    """Let an admin end all of the user's sessions."""
    answer = instances.here.delete(f"/users/{person.name}/sessions", headers=instances.admin.headers)
    assert answer.status_code == 204


def deleted_by_oneself(instances: Instances, person: Person) -> None:
    """Let the user delete their own account."""
    answer = instances.here.request("DELETE", "/me", json={"password": PASSWORD}, headers=person.headers)
    assert answer.status_code == 204


def given_a_reset_password(instances: Instances, person: Person) -> None:
    """Set a new password by an admin's reset."""
    made = instances.here.post(f"/users/{person.name}/password-reset", headers=instances.admin.headers).json()
    body = {"token": made["token"], "new_password": PASSWORD + "!"}
    assert instances.here.post("/password-reset", json=body).status_code == 204


def disabled(instances: Instances, person: Person) -> None:
    """Disable the user's account."""
    answer = instances.here.patch(f"/users/{person.name}", json={"disabled": True}, headers=instances.admin.headers)
    assert answer.status_code == 200


def deleted(instances: Instances, person: Person) -> None:
    """Delete the user's account."""
    assert instances.here.delete(f"/users/{person.name}", headers=instances.admin.headers).status_code == 204


def given_a_new_password(instances: Instances, person: Person) -> None:
    """Log in again and change the password there, which ends the user's first session."""
    session = instances.here.post("/login", json={"username": person.name, "password": PASSWORD}).json()
    answer = instances.here.put(
        "/me/password",
        json={"current_password": PASSWORD, "new_password": PASSWORD + "!"},
        headers={"Authorization": f"Bearer {session['access_token']}"},
    )
    assert answer.status_code == 204


def test_what_one_instance_revokes_the_other_refuses(instances: Instances) -> None:
    """On the same instance a revocation applies at once; on the other, which has the token cached, it applies soon."""
    ended = (logged_out, logged_out_everywhere, ended_from_the_list, ended_by_an_admin)
    for revoke in (*ended, disabled, deleted, deleted_by_oneself, given_a_new_password, given_a_reset_password):
        people = [new_person(instances.there) for _ in range(AT_ONCE)]
        assert {fibonacci(instances.there, person) for person in people} == {200}
        for person in people:
            revoke(instances, person)
        assert {fibonacci(instances.here, person) for person in people} == {401}, revoke.__name__
        for person in people:
            wait_until(partial(refused, instances.there, person), f"a user who was {revoke.__name__} is refused there")


def known_as(client: httpx.Client, person: Person, role: str) -> bool:
    """Return whether an instance shows this role for a user."""
    told = client.get("/secure-history?limit=1", headers=person.headers).json()
    return bool(told.get("role") == role)


def test_a_demotion_holds_on_the_other_instance(instances: Instances) -> None:
    """If one instance demotes an admin, the other refuses admin requests at once, and soon shows the role ``user``."""
    people = [new_person(instances.there) for _ in range(AT_ONCE)]
    for person in people:
        set_role(instances, person, "admin")
    for person in people:
        wait_until(partial(known_as, instances.there, person, "admin"), "known as an admin")
    for person in people:
        set_role(instances, person, "user")
        assert instances.there.get("/users", headers=person.headers).status_code == 403
    for person in people:
        wait_until(partial(known_as, instances.there, person, "user"), "known as a user")


def remaining(client: httpx.Client, person: Person) -> str | None:
    """Request a calculation, and return the RateLimit header of the response, or None."""
    left: str | None = client.get("/fibonacci/10", headers=person.headers).headers.get("RateLimit")
    return left


def test_a_limit_holds_on_the_other_instance(instances: Instances) -> None:
    """A limit set for a user applies at once on the instance that set it, and soon on the other."""
    person = new_person(instances.there)
    assert '"day"' in (remaining(instances.there, person) or "")
    answer = instances.here.patch(
        f"/users/{person.name}", json={"quota": {"rate_limit": "5000/hour"}}, headers=instances.admin.headers
    )
    assert answer.json()["quota"]["rate_limit"] == "5000/hour"
    assert (remaining(instances.here, person) or "").startswith('"hour";r=4999;')
    wait_until(lambda: (remaining(instances.there, person) or "").startswith('"hour"'), "the limit is known there")


def set_role(instances: Instances, person: Person, role: str) -> None:
    """Set a user's role on the first instance."""
    answer = instances.here.patch(f"/users/{person.name}", json={"role": role}, headers=instances.admin.headers)
    assert answer.status_code == 200


def test_a_removed_key_is_refused_by_the_other_instance(instances: Instances) -> None:
    """An API key that is deleted on one instance is soon refused by the other."""
    person = new_person(instances.here)
    made = instances.here.post("/me/keys", json={"name": "ci"}, headers=person.headers).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert instances.there.get("/fibonacci/10", headers=headers).status_code == 200
    assert instances.here.delete(f"/me/keys/{made['id']}", headers=person.headers).status_code == 204
    wait_until(lambda: instances.there.get("/fibonacci/10", headers=headers).status_code == 401, "the key is refused")


def test_a_session_is_refreshed_on_any_instance(instances: Instances) -> None:
    """A refresh token from one instance works on the other, and the new access token reads the history on both."""
    person = new_person(instances.here)
    session = instances.here.post("/login", json={"username": person.name, "password": PASSWORD}).json()
    instances.here.get("/fibonacci/11", headers=person.headers)
    renewed = instances.there.post("/token/refresh", json={"refresh_token": session["refresh_token"]})
    assert renewed.status_code == 200
    headers = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
    for instance in (instances.here, instances.there):
        items = instance.get("/secure-history", headers=headers).json()["items"]
        assert [item["input"] for item in items] == [{"n": 11}]
