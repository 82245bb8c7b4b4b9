"""Mass assignment: requests can't set undeclared fields such as a role, an owner or a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.accounts import PASSWORD, Person, new_admin, new_name, new_person, registration
from tests.harness.servers import pycalc

UUID = "019aab12-7c00-7123-8456-426614174000"
OF_ACCOUNTS = {
    "id": UUID,
    "user_id": UUID,
    "is_admin": True,
    "admin": True,
    "roles": ["admin"],
    "Role": "admin",
    "disabled": False,
    "created_at": "2000-01-01T00:00:00Z",
    "created_ms": 0,
    "password_hash": "$2b$04$" + "a" * 53,
    "username_key": "root",
    "__class__": "admin",
    "__proto__": {"role": "admin"},
}
OF_ONES_OWN = {
    **{name: value for name, value in OF_ACCOUNTS.items() if name != "disabled"},
    "username": "root2",
    "email": "root2@example.com",
    "password": PASSWORD,
}
OF_KEYS = {
    **OF_ACCOUNTS,
    "key": "pck_" + "A" * 43,
    "prefix": "pck_root",
    "key_hash": "00",
    "expires_at": None,
    "last_used_at": None,
    "role": "admin",
    "scope": "admin",
}
OF_SESSIONS = {**OF_ACCOUNTS, "role": "admin", "sid": UUID, "expires_in": 10**9, "username": "root"}


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx.Client]:
    """Run a service without an admin for this module, and yield a client of it."""
    with pycalc(data=data) as server, httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def admin(client: httpx.Client, data: Path) -> Person:
    """Register the service's admin."""
    return new_admin(client, data)


@pytest.fixture
def person(client: httpx.Client) -> Person:
    """Register a user."""
    return new_person(client)


def one_by_one(fields: dict[str, Any]) -> pytest.MarkDecorator:
    """Return a mark that runs a test for each of these fields."""
    return pytest.mark.parametrize(("field", "value"), fields.items(), ids=fields.keys())


def require_refused(answer: httpx.Response, pointer: str) -> None:
    """Assert that a field was refused with a pointer to it."""
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "/docs/problems#validation-error"
    assert pointer in [entry["pointer"] for entry in answer.json()["errors"]]


def status_of_login(client: httpx.Client, name: str, password: str = PASSWORD) -> int:
    """Try to log in, and return the status."""
    return client.post("/login", json={"username": name, "password": password}).status_code


@one_by_one(OF_ACCOUNTS)
def test_a_registration_sets_no_more_than_it_says(client: httpx.Client, field: str, value: object) -> None:
    """An undeclared field in a registration gets 422, and no account is created."""
    name = new_name()
    require_refused(client.post("/register", json=registration(name, **{field: value})), f"/{field}")
    assert status_of_login(client, name) == 401


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("admin", 403),
        ("ADMIN", 422),
        ("admin ", 422),
        ("root", 422),
        ("", 422),
        (None, 422),
        (1, 422),
        (True, 422),
        (["admin"], 422),
        ({"role": "admin"}, 422),
    ],
)
def test_a_role_is_not_for_the_asking(client: httpx.Client, admin: Person, role: object, status: int) -> None:
    """Without an admin's token the role admin gets 403 and an unknown role 422; no account is created."""
    name = new_name()
    answer = client.post("/register", json=registration(name, role=role))
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert status_of_login(client, name) == 401


def test_a_role_given_twice_is_refused(client: httpx.Client, admin: Person) -> None:
    """A registration with two roles is refused, because parsers may disagree on which role counts."""
    name = new_name()
    body = f'{{"username":"{name}","email":"{name}@example.com","password":"{PASSWORD}","role":"user","role":"admin"}}'
    answer = client.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "The member role is given more than once:" in answer.text) == (422, True)
    assert status_of_login(client, name) == 401


def test_a_role_elsewhere_is_no_role(client: httpx.Client, person: Person) -> None:
    """A role in the query, a header field, a cookie or the login form is ignored."""
    name = new_name()
    headers = {"X-Role": "admin", "X-User": "root", "Cookie": "role=admin", "X-HTTP-Method-Override": "PUT"}
    made = client.post("/register?role=admin", json=registration(name), headers=headers)
    assert (made.status_code, made.json()["role"]) == (201, "user")
    form = {"grant_type": "password", "username": name, "password": PASSWORD, "scope": "admin"}
    session = client.post("/login", data=form).raise_for_status().json()
    bearer = {"Authorization": f"Bearer {session['access_token']}", **headers}
    assert client.get("/me?role=admin", headers=bearer).json()["role"] == "user"
    assert client.get("/users", headers=bearer).status_code == 403
    assert client.get(f"/users/{name}?role=admin", headers=bearer).status_code == 403


@one_by_one(OF_SESSIONS)
def test_a_login_and_a_refresh_set_nothing(client: httpx.Client, person: Person, field: str, value: object) -> None:
    """An undeclared field in a login or refresh gets 422, and does not use up the refresh token."""
    login = {"username": person.name, "password": PASSWORD}
    if field not in login:
        require_refused(client.post("/login", json={**login, field: value}), f"/{field}")
    session = client.post("/login", json=login).raise_for_status().json()
    refresh = {"refresh_token": session["refresh_token"]}
    require_refused(client.post("/token/refresh", json={**refresh, field: value}), f"/{field}")
    again = client.post("/token/refresh", json=refresh)
    assert (again.status_code, again.json()["expires_in"]) == (200, 900)


@one_by_one(OF_SESSIONS)
def test_a_new_password_is_all_that_changes(client: httpx.Client, person: Person, field: str, value: object) -> None:
    """An undeclared field in a password change gets 422, and the password stays."""
    before = client.get("/me", headers=person.headers).json()
    change = {"current_password": PASSWORD, "new_password": "a quite different password", field: value}
    require_refused(client.put("/me/password", headers=person.headers, json=change), f"/{field}")
    assert client.get("/me", headers=person.headers).json() == before
    assert status_of_login(client, person.name) == 200


@one_by_one(OF_KEYS)
def test_a_key_is_made_by_the_service_alone(client: httpx.Client, person: Person, field: str, value: object) -> None:
    """An undeclared field in a request for a key gets 422, and no key is made."""
    answer = client.post("/me/keys", headers=person.headers, json={"name": "report", field: value})
    require_refused(answer, f"/{field}")
    assert client.get("/me/keys", headers=person.headers).json() == []


@one_by_one(OF_ONES_OWN)
def test_an_admin_changes_role_and_disabled_alone(
    client: httpx.Client, admin: Person, person: Person, field: str, value: object
) -> None:
    """Even an admin who changes an undeclared field of an account gets 422, and nothing changes."""
    before = client.get("/me", headers=person.headers).json()
    change = {"role": "admin", field: value}
    require_refused(client.patch(f"/users/{person.name}", headers=admin.headers, json=change), f"/{field}")
    assert client.get("/me", headers=person.headers).json() == before


def test_a_calculation_is_the_callers(client: httpx.Client, person: Person) -> None:
    """A batch or query that sets a user, an id or ``cached`` is refused, and nothing is recorded."""
    operation = {"operation": "fibonacci", "input": {"n": 10}}
    for field, value in {"user_id": UUID, "user": "root", "id": UUID, "cached": True}.items():
        body: dict[str, Any] = {"operations": [operation], field: value}
        require_refused(client.post("/batch", headers=person.headers, json=body), "")
        body = {"operations": [{**operation, field: value}]}
        require_refused(client.post("/batch", headers=person.headers, json=body), "/operations/0")
        answer = client.get("/fibonacci/10", headers=person.headers, params={field: str(value)})
        require_refused(answer, f"/{field}")
    assert client.get("/secure-history", headers=person.headers).json()["items"] == []
