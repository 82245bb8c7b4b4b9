"""New accounts for tests, so that no test sees the history of another."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Person:
    """A logged-in account."""

    name: str
    id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that authenticates the account."""
        return {"Authorization": f"Bearer {self.token}"}


def new_name() -> str:
    """Return an unused username."""
    return "u" + secrets.token_hex(8)


def registration(name: str, **extra: object) -> dict[str, object]:
    """Return the body of a registration request."""
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **extra}


def new_person(client: httpx.Client) -> Person:
    """Register a new account and log it in."""
    return _log_in(client, client.post("/register", json=registration(new_name())))


async def new_session(client: httpx.AsyncClient) -> dict[str, str]:
    """Register and log in a new account, authenticate the client's later requests, and return the login's answer."""
    name = new_name()
    assert (await client.post("/register", json=registration(name))).status_code == 201
    session: dict[str, str] = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
    client.headers["Authorization"] = f"Bearer {session['access_token']}"
    return session


async def history_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return the items of the caller's history, newest first."""
    answer = await client.get("/secure-history")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def new_admin(client: httpx.Client, data: Path) -> Person:
    """Register the first admin with the bootstrap token in the data folder, and log it in."""
    token = (data / "bootstrap-token").read_text().strip()
    body = registration(new_name(), role="admin")
    return _log_in(client, client.post("/register", json=body, headers={"X-Bootstrap-Token": token}))


def new_admin_by(client: httpx.Client, admin: Person) -> Person:
    """Register another admin with an admin's token, and log the new admin in."""
    body = registration(new_name(), role="admin")
    return _log_in(client, client.post("/register", json=body, headers=admin.headers))


def _log_in(client: httpx.Client, registered: httpx.Response) -> Person:
    assert registered.status_code == 201, registered.text
    account = registered.json()
    session = client.post("/login", json={"username": account["username"], "password": PASSWORD})
    assert session.status_code == 200, session.text
    return Person(account["username"], account["id"], session.json()["access_token"])
