"""Rotation of keys: signing keys without a restart, password keys at each account's next login."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.accounts import PASSWORD, new_person, registration
from tests.harness.forging import decoded
from tests.harness.metrics import metric
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until

FIRST, SECOND = "first-key-" * 4, "second-key-" * 4


def put(file: Path, *keys: str) -> None:
    """Replace a key file atomically, as the operations guide describes."""
    part = file.with_name("part")
    part.write_text("".join(f"{key}\n" for key in keys))
    part.rename(file)


def key_id(token: str) -> str:
    """Return the key id in a token's header."""
    return str(decoded(token.split(".")[0])["kid"])


def logged_in(client: httpx.Client, name: str) -> dict[str, str]:
    """Log in, and return the session's tokens."""
    session: dict[str, str] = (
        client.post("/login", json={"username": name, "password": PASSWORD}).raise_for_status().json()
    )
    return session


def replacements(log: Path) -> list[int]:
    """Return the number of keys after each replacement that the log reports."""
    records = (json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n"))
    return [record["listed"] for record in records if record["event"] == "signing keys replaced"]


def status(client: httpx.Client, token: str) -> int:
    """Return the status of a calculation with this token."""
    return client.get("/fibonacci/10", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.mark.parametrize("own", [True, False], ids=["a file of one's own", "the development key"])
def test_keys_are_rotated_without_a_restart_or_a_logout(tmp_path: Path, own: bool) -> None:
    """A new key signs new tokens; access tokens of the old key work until its removal, refresh tokens even longer."""
    data, log = tmp_path / "data", tmp_path / "log"
    file = tmp_path / "keys" if own else data / "secret-key"
    data.mkdir()
    put(file, FIRST)
    settings: dict[str, Any] = {"secret_keys_file": str(file)} if own else {}
    with pycalc(data=data, log=log, **settings) as server, httpx.Client(base_url=server.url) as client:
        name = new_person(client).name
        before = logged_in(client, name)
        assert status(client, before["access_token"]) == 200

        put(file, SECOND, FIRST)
        wait_until(lambda: replacements(log) == [2], "the new key is read")
        # Log in only once, because a user's oldest session ends when the hundred-and-first begins.
        after = logged_in(client, name)
        assert key_id(after["access_token"]) != key_id(before["access_token"])
        assert [status(client, session["access_token"]) for session in (before, after)] == [200, 200]

        put(file, SECOND)
        wait_until(lambda: status(client, before["access_token"]) == 401, "a token of the old key is refused")
        assert status(client, after["access_token"]) == 200
        refreshed = client.post("/token/refresh", json={"refresh_token": before["refresh_token"]}).raise_for_status()
        assert status(client, refreshed.json()["access_token"]) == 200

        put(file, "short")
        wait_until(lambda: metric(client, "pycalc_key_file_unreadable") == 1, "the unreadable file is reported")
        assert status(client, after["access_token"]) == 200
    assert replacements(log) == [2, 1]
    written = log.read_text()
    assert FIRST not in written
    assert SECOND not in written


def test_a_service_without_good_keys_does_not_start(tmp_path: Path) -> None:
    """Without valid keys the service exits with 1; the message names the file, but not its contents."""
    file = tmp_path / "keys"
    put(file, "hunter2")
    done = subprocess.run(
        [sys.executable, "-m", "pycalc", "serve"],
        env={**os.environ, "PYCALC_DATA_DIR": str(tmp_path / "data"), "PYCALC_SECRET_KEYS_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        f"pycalc: PYCALC_SECRET_KEYS_FILE: the key file {file} needs a key a line, of 32 characters or more each, "
        "without spaces and comments"
    )


def test_password_keys_are_rotated_by_logging_in(tmp_path: Path) -> None:
    """After the old password key is removed, only accounts that logged in while both keys were listed can log in."""
    statuses: dict[str, list[int]] = {"present": [], "away": []}

    def log_in(client: httpx.Client, *names: str) -> None:
        for name in names:
            answer = client.post("/login", json={"username": name, "password": PASSWORD})
            statuses[name].append(answer.status_code)

    for keys, names in (((FIRST,), ("present", "away")), ((SECOND, FIRST), ("present",)), ((SECOND,), statuses)):
        with (
            pycalc(data=tmp_path, log=tmp_path / "log", password_keys=",".join(keys)) as server,
            httpx.Client(base_url=server.url) as client,
        ):
            if keys == (FIRST,):
                for name in names:
                    client.post("/register", json=registration(name)).raise_for_status()
            log_in(client, *names)
    assert statuses == {"present": [200, 200, 200], "away": [200, 401]}
    assert "not listed in PYCALC_PASSWORD_KEYS" in (tmp_path / "log").read_text()
