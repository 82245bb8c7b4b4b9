"""The audit log on standard error: refusals, grants and revocations as lines of JSON, without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any, NamedTuple

import httpx
import pytest

from tests.harness.accounts import PASSWORD, Person, new_admin, new_name, new_person, registration
from tests.harness.metrics import metric
from tests.harness.one_time_codes import code_at
from tests.harness.servers import pycalc

HERE = "198.51.100.7"
WRONG = "an unmistakable secret"
MARKS = {"timestamp", "level", "logger", "event", "request_id", "user_id"}


def records_of(log: Path) -> list[dict[str, Any]]:
    """Return the records of a log; raises ValueError for a line that is not JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]


class Audited(NamedTuple):
    """A service with its log, an admin and two users."""

    client: httpx.Client
    log: Path
    admin: Person
    user: Person
    other: Person

    def key(self, person: Person) -> dict[str, str]:
        """Make an API key for a person, and return the body of the answer."""
        made: dict[str, str] = self.client.post("/me/keys", json={"name": "key"}, headers=person.headers).json()
        return made

    def records(self) -> list[dict[str, Any]]:
        """Return all records of the log so far."""
        return records_of(self.log)

    def last(self, event: str) -> dict[str, Any]:
        """Return the newest record of an event, without the fields that every record of a request has."""
        found = [record for record in self.records() if record["event"] == event][-1]
        return {name: value for name, value in found.items() if name not in MARKS}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """Run a service that trusts the client as a proxy; yield it with its log, an admin and two users."""
    data = tmp_path_factory.mktemp("data")
    log = data / "log"
    with (
        pycalc(data=data, log=log, trusted_proxies="127.0.0.0/8", login_limit="2/minute") as server,
        httpx.Client(base_url=server.url, headers={"X-Forwarded-For": HERE}) as client,
    ):
        yield Audited(client, log, new_admin(client, data), new_person(client), new_person(client))


def refusal(
    status: int, method: str, route: str, reason: str, credential: str, user: str | None = None, **more: str
) -> dict[str, object]:
    """Return the expected fields of a refusal's record."""
    told = {"status": status, "method": method, "route": route, "reason": reason, "credential": credential}
    return {**told, "user": user, "address": HERE, **more}


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def test_unknown_callers_are_recorded_by_address(audited: Audited) -> None:
    """If credentials are unknown or missing, the refusal is recorded with the client's address and without a user."""
    client = audited.client
    body = registration(new_name(), role="admin")
    assert client.post("/register", json=body, headers={"X-Bootstrap-Token": WRONG}).status_code == 403
    told = refusal(403, "POST", "/register", "The bootstrap token is not valid.", "bootstrap token")
    assert audited.last("request refused") == told
    reason = "The token is invalid, expired or revoked."
    for path, route in (("/me", "/me"), ("/fibonacci/10", "/fibonacci/{n}")):
        assert client.get(path, headers=bearer("e30.e30." + "A" * 43)).status_code == 401
        assert audited.last("request refused") == refusal(401, "GET", route, reason, "token")
    assert client.get("/me", headers=bearer("pck_" + "A" * 43)).status_code == 401
    told = refusal(401, "GET", "/me", "The API key is invalid, expired or revoked.", "key")
    assert audited.last("request refused") == told
    assert client.get("/me").status_code == 401
    detail = "Send a token (Authorization: Bearer ...), or an API key as the password of HTTP Basic."
    told = refusal(401, "GET", "/me", detail, "none")
    assert audited.last("request refused") == told
    assert client.post("/token/refresh", json={"refresh_token": "pcr_" + WRONG}).status_code == 401
    told = refusal(401, "POST", "/token/refresh", "The refresh token is invalid, expired or revoked.", "none")
    assert audited.last("request refused") == told


def test_a_refused_login_is_recorded_with_the_attempted_name(audited: Audited) -> None:
    """A refused or throttled login is recorded with the name that was tried."""
    name = new_name()
    login = {"username": name, "password": WRONG}
    for status, reason in (
        (401, "The username or the password is wrong."),
        (401, "The username or the password is wrong."),
        (429, "Too many wrong passwords; try again later."),
    ):
        assert audited.client.post("/login", json=login).status_code == status
        told = refusal(status, "POST", "/login", reason, "none", tried=name)
        assert audited.last("request refused") == told
    assert audited.last("login refused") == {"user": name}


def test_known_callers_are_recorded_by_name(audited: Audited) -> None:
    """A refusal of an authenticated caller is recorded with the caller's name."""
    client, user = audited.client, audited.user
    admins, others = "Only an admin may do this.", "Only an admin may see another user's records."
    for method, path, route, reason in (
        ("GET", f"/secure-history?user={audited.other.name}", "/secure-history", others),
        ("GET", "/users", "/users", admins),
        ("DELETE", f"/users/{audited.other.name}", "/users/{username}", admins),
    ):
        assert client.request(method, path, headers=user.headers).status_code == 403
        assert audited.last("request refused") == refusal(403, method, route, reason, "session", user.name)
    body = registration(new_name(), role="admin")
    assert client.post("/register", json=body, headers=user.headers).status_code == 403
    assert audited.last("request refused") == refusal(403, "POST", "/register", admins, "session", user.name)
    key = bearer(audited.key(user)["key"])
    assert client.post("/me/keys", json={"name": "more"}, headers=key).status_code == 403
    told = refusal(
        403, "POST", "/me/keys", "An API key can't do this; log in and use the access token.", "key", user.name
    )
    assert audited.last("request refused") == told


def test_reuse_of_a_refresh_token_is_recorded_with_its_user(audited: Audited) -> None:
    """Reuse of a refresh token is recorded with its owner, because the token may be stolen."""
    person = new_person(audited.client)
    login = {"username": person.name, "password": PASSWORD}
    stolen = token = audited.client.post("/login", json=login).json()["refresh_token"]
    for _ in range(2):
        token = audited.client.post("/token/refresh", json={"refresh_token": token}).json()["refresh_token"]
    assert audited.client.post("/token/refresh", json={"refresh_token": stolen}).status_code == 401
    assert audited.last("refresh token reused: session ended")["user"] == person.name


def test_grants_and_revocations_say_what_and_by_whom(audited: Audited) -> None:
    """Changes of keys and accounts are recorded with what was changed and by whom."""
    client, admin = audited.client, audited.admin
    person = new_person(client)
    key = audited.key(person)
    scopes = "calculate history:read usage:read events:read account:read"
    created = {"user": person.name, "key": key["prefix"], "scopes": scopes, "allow_query": False}
    assert audited.last("key created") == created
    assert client.delete(f"/me/keys/{key['id']}", headers=person.headers).status_code == 204
    assert audited.last("key removed") == {"user": person.name, "key": key["prefix"]}
    for change in ({"role": "admin"}, {"disabled": True}, {"role": "user", "disabled": False}):
        assert client.patch(f"/users/{person.name}", json=change, headers=admin.headers).status_code == 200
        told = audited.last("account changed")
        assert {name: told[name] for name in ("user", "by", "changed")} == {
            "user": person.name,
            "by": admin.name,
            "changed": change,
        }
    assert client.delete(f"/users/{person.name}", headers=admin.headers).status_code == 204
    assert audited.last("account deleted") == {"user": person.name, "by": admin.name, "history": "anonymize"}


def test_no_record_holds_a_secret(audited: Audited) -> None:
    """Refused passwords, tokens and keys are recorded, each in a line of JSON, but the log contains none of them."""
    client, before = audited.client, len(audited.records())
    key = audited.key(audited.user)["key"]
    refused = [
        client.get("/me", headers=bearer(WRONG)),
        client.post("/login", json={"username": new_name(), "password": WRONG}),
        client.post("/token/refresh", json={"refresh_token": "pcr_" + WRONG}),
        client.post("/register", json=registration(new_name(), role="admin"), headers={"X-Bootstrap-Token": WRONG}),
        client.post("/me/keys", json={"name": "more"}, headers=bearer(key)),
        client.get("/users", headers=audited.user.headers),
    ]
    assert [answer.status_code for answer in refused] == [401, 401, 401, 403, 403, 403]
    assert [record["event"] for record in audited.records()[before:]].count("request refused") == 6
    text = audited.log.read_text()
    assert not [secret for secret in (WRONG, PASSWORD, key, audited.user.token, audited.admin.token) if secret in text]


def test_second_factors_are_recorded(audited: Audited) -> None:
    """Enabling a second factor, wrong codes, recovery codes and an admin's reset are recorded, without any code."""
    client, other = audited.client, new_person(audited.client)
    secret = client.post("/me/totp", json={"password": PASSWORD}, headers=other.headers).json()["secret"]
    code = code_at(secret, time())
    confirmed = client.post("/me/totp/confirm", json={"totp": code}, headers=other.headers)
    recovery = confirmed.json()["recovery_codes"][0]
    assert audited.last("second factor enabled") == {"user": other.name}
    credentials = {"username": other.name, "password": PASSWORD}
    assert client.post("/login", json={**credentials, "totp": WRONG}).status_code == 401
    assert audited.last("login refused") == {"user": other.name, "factor": "totp"}
    assert client.post("/login", json={**credentials, "totp": recovery}).status_code == 200
    assert audited.last("recovery code used") == {"user": other.name}
    assert client.delete(f"/users/{other.name}/totp", headers=audited.admin.headers).status_code == 204
    assert audited.last("second factor reset") == {"user": other.name, "by": audited.admin.name}
    log = audited.log.read_text()
    assert not [each for each in (secret, recovery, recovery.replace("-", ""), WRONG) if each in log]


def test_a_flood_of_refusals_does_not_fill_the_log(tmp_path: Path) -> None:
    """Of 600 refusals of unknown callers, some are counted but not logged; a known user's refusal is still logged."""
    log = tmp_path / "log"
    with pycalc(data=tmp_path, log=log) as server, httpx.Client(base_url=server.url) as client:
        person = new_person(client)
        for _ in range(600):
            assert client.get("/fibonacci/10", headers=bearer(WRONG)).status_code == 401
        assert client.get("/users", headers=person.headers).status_code == 403
        suppressed = metric(client, "pycalc_audit_suppressed_total", caller="unknown")
    told = [record for record in records_of(log) if record["event"] == "request refused"]
    assert len(told) + suppressed == 601
    assert suppressed > 0
    assert told[-1]["user"] == person.name
