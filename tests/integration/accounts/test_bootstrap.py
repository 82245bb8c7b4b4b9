"""Registering the first admin over HTTP: only one registration with the bootstrap token succeeds."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx

from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.servers import pycalc

ATTEMPTS = 50
# At least so many get 403: 16 registrations of one address may wait for a password hash, and one of them gets 201.
REFUSED = 15


def test_of_fifty_at_once_one_becomes_the_admin(tmp_path: Path) -> None:
    """Of fifty simultaneous registrations with the bootstrap token, one gets 201; the others get 403 or 503."""
    start = Barrier(ATTEMPTS)
    with pycalc(data=tmp_path) as server, httpx.Client(base_url=server.url) as client:
        token = (tmp_path / "bootstrap-token").read_text().strip()

        def ask(name: str) -> int:
            body = registration(name, role="admin")
            with httpx.Client(base_url=server.url, timeout=30) as own:
                start.wait(30)
                return own.post("/register", json=body, headers={"X-Bootstrap-Token": token}).status_code

        names = [new_name() for _ in range(ATTEMPTS)]
        with ThreadPoolExecutor(ATTEMPTS) as threads:
            statuses = list(threads.map(ask, names))
        counted = Counter(statuses)
        assert counted[201] == 1
        assert counted[403] >= REFUSED
        assert set(counted) <= {201, 403, 503}
        assert not (tmp_path / "bootstrap-token").exists()

        first = names[statuses.index(201)]
        session = client.post("/login", json={"username": first, "password": PASSWORD}).json()
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        assert client.get("/me", headers=headers).json()["role"] == "admin"
        again = client.post(
            "/register", json=registration(new_name(), role="admin"), headers={"X-Bootstrap-Token": token}
        )
        assert again.status_code == 403
        users = client.get("/users?limit=1000", headers=headers).json()["items"]
        assert [(user["username"], user["role"]) for user in users] == [(first, "admin")]


def test_open_admin_registration_grants_the_requested_role(tmp_path: Path) -> None:
    """With admin registration open, no bootstrap token exists or is needed; each account gets the role it requests."""
    with pycalc(data=tmp_path, admin_registration="open") as server, httpx.Client(base_url=server.url) as client:
        assert not (tmp_path / "bootstrap-token").exists()
        for role in ("admin", "user", "admin"):
            made = client.post("/register", json=registration(new_name(), role=role))
            assert (made.status_code, made.json()["role"]) == (201, role)


def test_closed_admin_registration_makes_no_admin(tmp_path: Path) -> None:
    """With admin registration closed, not even an earlier bootstrap token makes an admin."""
    with pycalc(data=tmp_path):
        token = (tmp_path / "bootstrap-token").read_text().strip()
    with pycalc(data=tmp_path, admin_registration="closed") as server, httpx.Client(base_url=server.url) as client:
        assert not (tmp_path / "bootstrap-token").exists()
        body = registration(new_name(), role="admin")
        assert client.post("/register", json=body, headers={"X-Bootstrap-Token": token}).status_code == 403
