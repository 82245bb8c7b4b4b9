"""The main promises of the API, checked on a real server process."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness.servers import pycalc

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """Run a service for this module, which has no admin yet."""
    data = tmp_path_factory.mktemp("data")
    with pycalc(data=data) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield client, data


def register(client: httpx.Client, **extra: str) -> str:
    """Register an account with a new name and return the name."""
    name = "u" + secrets.token_hex(6)
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **extra}
    answer = client.post("/register", json=body)
    assert answer.status_code == 201, answer.text
    return name


def log_in(client: httpx.Client, name: str) -> dict[str, str]:
    """Log a user in, and return the header that authenticates the session."""
    answer = client.post("/login", json={"username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_three_operations_are_answered_and_recorded(service: tuple[httpx.Client, Path]) -> None:
    """F(10) = 55, 5! = 120 and 2^3 = 8 are answered as JSON numbers; the caller's history lists them, newest first."""
    client, _ = service
    user, other = log_in(client, register(client)), log_in(client, register(client))
    answers = [client.get(path, headers=user).json() for path in ("/fibonacci/10", "/factorial/5", "/pow/2/3")]
    assert [answer["result"] for answer in answers] == [55, 120, 8]
    history = client.get("/secure-history", headers=user).json()
    assert [item["id"] for item in history["items"]] == [answer["id"] for answer in reversed(answers)]
    assert history["role"] == "user"
    assert client.get("/secure-history", headers=other).json()["items"] == []


def test_bootstrap_token_makes_one_admin_who_sees_everything(service: tuple[httpx.Client, Path]) -> None:
    """The bootstrap token in the data folder registers one admin, who sees everyone's history and may delete users."""
    client, data = service
    file = data / "bootstrap-token"
    assert file.stat().st_mode & 0o777 == 0o600
    token = file.read_text().strip()
    body = {"username": "root", "email": "root@example.com", "password": PASSWORD, "role": "admin"}
    assert client.post("/register", json=body).status_code == 403
    created = client.post("/register", json=body, headers={"X-Bootstrap-Token": token})
    assert (created.status_code, created.json()["role"]) == (201, "admin")
    again = {**body, "username": "root2", "email": "root2@example.com"}
    assert client.post("/register", json=again, headers={"X-Bootstrap-Token": token}).status_code == 403

    admin, name = log_in(client, "root"), register(client)
    user = log_in(client, name)
    made = client.get("/fibonacci/20", headers=user).json()
    everyone = client.get("/secure-history", headers=admin).json()
    assert everyone["role"] == "admin"
    assert made["id"] in [item["id"] for item in everyone["items"]]
    only = client.get("/secure-history", headers=admin, params={"user": name}).json()
    assert [item["id"] for item in only["items"]] == [made["id"]]

    assert client.get("/me", headers=user).json()["username"] == name
    assert client.delete(f"/users/{name}", headers=user).status_code == 403
    assert client.delete(f"/users/{name}", headers=admin).status_code == 204
    refused = client.get("/fibonacci/20", headers=user)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.delete(f"/users/{name}", headers=admin).status_code == 404


def test_million_is_exact_and_found_in_the_history(service: tuple[httpx.Client, Path]) -> None:
    """F(10^6) is answered with all 208,988 digits; the history has the known first and last 20 digits instead."""
    client, _ = service
    user = log_in(client, register(client))
    answer = client.get("/fibonacci/1000000", headers=user).json()
    assert answer["digits"] == len(answer["result"]) == 208_988
    assert answer["result"].startswith("19532821287077577316")
    assert answer["result"].endswith("68996526838242546875")
    item = client.get("/secure-history", headers=user).json()["items"][0]
    assert (item["id"], item["result"], item["digits"]) == (answer["id"], None, 208_988)
    assert (item["leading"], item["trailing"]) == ("19532821287077577316", "68996526838242546875")


def test_oauth2_form_opens_a_session(service: tuple[httpx.Client, Path]) -> None:
    """The OAuth2 password form of the documentation page opens a session (RFC 6749 §4.3.2)."""
    client, _ = service
    name = register(client)
    form = {"grant_type": "password", "username": name, "password": PASSWORD, "scope": ""}
    answer = client.post("/login", data=form)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"


def test_work_survives_a_restart(tmp_path: Path) -> None:
    """After a restart, an access token from before is still valid, and the history is complete."""
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        user = log_in(client, register(client))
        made = client.get("/pow/2/100", headers=user).json()
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        assert [item["id"] for item in client.get("/secure-history", headers=user).json()["items"]] == [made["id"]]
