"""Requests with texts that a database can't store: they are answered in the same way with SQLite and PostgreSQL."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.contract.backends import DATABASES, each
from tests.harness.accounts import PASSWORD, Person, new_admin, new_name, registration
from tests.harness.raw import exchange
from tests.harness.servers import Server, pycalc

JSON = {"Content-Type": "application/json"}
NUL, SURROGATE = "a\x00b", "a\ud800b"
CURSOR = base64.urlsafe_b64encode(b"a\x00b").decode()


class Service(NamedTuple):
    """A service, and its admin."""

    server: Server
    admin: Person


@pytest.fixture(scope="module", params=each(DATABASES))
def service(request: pytest.FixtureRequest, data: Path) -> Iterator[Service]:
    """Run the service with SQLite and with PostgreSQL in turn."""
    settings = {}
    if request.param == "postgresql":
        postgres, migrated = request.getfixturevalue("postgres_server"), request.getfixturevalue("migrated")
        settings["database_url"] = postgres.new_database(migrated)
    with pycalc(data=data / request.param, **settings) as server, httpx.Client(base_url=server.url) as client:
        yield Service(server, new_admin(client, data / request.param))


# Method, target and expected status.
PATHS = {
    "a user's name": ("PATCH", "/users/a%00b", 404),
    "a deleted user's name": ("DELETE", "/users/a%00b", 404),
    "a user's name, half a character": ("DELETE", "/users/a%ED%A0%80b", 404),
    "the history's user": ("GET", "/secure-history?user=a%00b", 200),
    "the usage's user": ("GET", "/usage?user=a%00b", 200),
    "the history's operation": ("GET", "/secure-history?operation=pow%00", 422),
    "the history's cursor": ("GET", f"/secure-history?cursor={CURSOR}", 422),
    "the users' cursor": ("GET", f"/users?cursor={CURSOR}", 422),
    "a key's id": ("DELETE", "/me/keys/a%00b", 404),
    "an operand": ("GET", "/fibonacci/1%00", 422),
    "an option": ("GET", "/fibonacci/1?mod=7%00", 422),
}


@pytest.mark.parametrize(("method", "target", "status"), PATHS.values(), ids=PATHS.keys())
def test_a_path_or_query_that_no_database_holds(service: Service, method: str, target: str, status: int) -> None:
    """A NUL or lone surrogate gets 404 in a name or id in the path, 200 in a filter by user, and 422 elsewhere."""
    body = b'{"disabled":true}' if method == "PATCH" else b""
    assert exchange(service.server.port, method, target, {**service.admin.headers, **JSON}, body).status == status


# Path, body and expected status.
BODIES = {
    "a login's name": ("/login", {"username": NUL, "password": PASSWORD}, 401),
    "a login's name, half a character": ("/login", {"username": SURROGATE, "password": PASSWORD}, 422),
    "a login's password": ("/login", {"username": "nobody", "password": NUL}, 401),
    "a login's password, half a character": ("/login", {"username": "nobody", "password": SURROGATE}, 422),
    "a registration's address": ("/register", registration(new_name(), email="a\x00b@example.com"), 422),
    "a registration's address, half a character": (
        "/register",
        registration(new_name(), email="a\ud800@example.com"),
        422,
    ),
    "a field's name": ("/register", registration(new_name(), **{NUL: 1, SURROGATE: 1}), 422),
    "a refresh token": ("/token/refresh", {"refresh_token": NUL}, 401),
    "a refresh token, half a character": ("/token/refresh", {"refresh_token": SURROGATE}, 422),
    "a key's name": ("/me/keys", {"name": NUL}, 422),
    "a key's name, half a character": ("/me/keys", {"name": SURROGATE}, 422),
    "an operand": ("/batch", {"operations": [{"operation": "fibonacci", "input": {"n": NUL}}]}, 200),
    "an operand, half a character": (
        "/batch",
        {"operations": [{"operation": "pow", "input": {"x": SURROGATE, "y": "1"}}]},
        200,
    ),
    "an operand alone": ("/calculations", {"operation": "fibonacci", "input": {"n": NUL}}, 422),
    "an operand alone, half a character": ("/calculations", {"operation": "pow", "input": {"x": SURROGATE}}, 422),
    "an operand's name": ("/calculations", {"operation": "fibonacci", "input": {SURROGATE: "1"}}, 422),
    "an operation's name": ("/calculations", {"operation": SURROGATE, "input": {}}, 422),
    "a member's name": ("/calculations", {"operation": "pow", "input": {}, SURROGATE: NUL}, 422),
    "an option's name": (
        "/batch",
        {"operations": [{"operation": "fibonacci", "input": {"n": 1, SURROGATE: "1"}}]},
        200,
    ),
}


@pytest.mark.parametrize(("path", "body", "status"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_no_database_holds(service: Service, path: str, body: object, status: int) -> None:
    """A body with a NUL or lone surrogate gets 422.

    In a login or a refresh token, a NUL gets 401 instead. A batch gets 200, with an error for the item.
    """
    reply = exchange(service.server.port, "POST", path, {**service.admin.headers, **JSON}, json.dumps(body).encode())
    assert reply.status == status, reply.body


@pytest.mark.parametrize("name", ["X-Forwarded-For", "traceparent", "X-Request-ID", "User-Agent", "X-Bootstrap-Token"])
def test_a_header_in_no_encoding(service: Service, name: str) -> None:
    """A header field that is neither ASCII nor UTF-8 causes no error."""
    headers: dict[str, str | bytes] = {**service.admin.headers, **JSON, name: b"\xff\xfe"}
    body = json.dumps(registration(new_name())).encode()
    assert exchange(service.server.port, "POST", "/register", headers, body).status == 201
    login = json.dumps({"username": service.admin.name, "password": PASSWORD}).encode()
    assert exchange(service.server.port, "POST", "/login", headers, login).status == 200
    assert exchange(service.server.port, "GET", "/fibonacci/10", headers).status == 200
