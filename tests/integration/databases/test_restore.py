"""The backup commands of the operations guide: the service can be restored from what they produce."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from tests.harness.accounts import PASSWORD, Person, new_person
from tests.harness.postgres import Postgres, programs
from tests.harness.servers import pycalc
from tests.harness.waiting import wait_until

GUIDE = Path(__file__).resolve().parents[3] / "docs/operations.md"


def commands(section: str) -> list[str]:
    """Return the blocks of shell commands in a section of docs/operations.md."""
    text = GUIDE.read_text().partition(f"### {section}\n")[2].partition("\n### ")[0]
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return blocks


def run(command: str, **variables: str) -> None:
    """Run a block of commands; stop at the first failure."""
    search = os.pathsep.join([str(programs() or ""), os.environ["PATH"]])
    subprocess.run(["sh", "-euc", command], env={**os.environ, "PATH": search, **variables}, check=True, timeout=60)


@contextmanager
def calculating(client: httpx.Client, person: Person) -> Iterator[list[int]]:
    """Calculate repeatedly during the ``with`` block; yield the growing list of operands whose results have arrived."""
    answered: list[int] = []
    ending = Event()

    def calculate() -> None:
        while not ending.is_set():
            client.get(f"/fibonacci/{len(answered)}", headers=person.headers).raise_for_status()
            answered.append(len(answered))

    thread = Thread(target=calculate)
    thread.start()
    try:
        wait_until(lambda: len(answered) >= 20, "calculations go on")
        yield answered
    finally:
        ending.set()
        thread.join()


def operands(client: httpx.Client, person: Person) -> list[int]:
    """Return the operands of a user's calculations in order, read with a new session."""
    login = {"username": person.name, "password": PASSWORD}
    token = client.post("/login", json=login).raise_for_status().json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/x-ndjson"}
    lines = client.get("/secure-history", headers=headers).raise_for_status().text.splitlines()
    return [int(n) for line in reversed(lines) for n in re.findall(r'"n":(\d+)', line)]


def test_sqlite(tmp_path: Path) -> None:
    """A backup made under load is private, and contains every calculation that was answered before the backup."""
    before, backup, after = (tmp_path / name for name in ("before", "backup", "after"))
    backup.mkdir()
    save, restore = commands("SQLite")
    with pycalc(data=before) as server, httpx.Client(base_url=server.url, timeout=15) as client:
        person = new_person(client)
        with calculating(client, person) as answered:
            known = len(answered)
            run(save, DATA=str(before), BACKUP=str(backup))
    assert {file.stat().st_mode & 0o777 for file in backup.iterdir()} == {0o600}
    run(restore, DATA=str(after), BACKUP=str(backup))
    with pycalc(data=after) as server, httpx.Client(base_url=server.url, timeout=15) as client:
        restored = operands(client, person)
        assert restored == list(range(len(restored)))
        assert len(restored) >= known


def test_sqlite_without_the_file(tmp_path: Path) -> None:
    """A backup from a folder that has no database fails, rather than save an empty database."""
    save, _ = commands("SQLite")
    backup = tmp_path / "backup"
    backup.mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        run(save, DATA=str(tmp_path), BACKUP=str(backup))
    assert not (tmp_path / "pycalc.db").exists()
    assert not any(file.stat().st_size for file in backup.iterdir())


def test_postgresql(postgres_server: Postgres, postgres_url: str, tmp_path: Path) -> None:
    """A dump that is made under load contains every calculation that was answered before the dump."""
    save, restore = commands("PostgreSQL")
    with (
        pycalc(data=tmp_path / "before", database_url=postgres_url) as server,
        httpx.Client(base_url=server.url, timeout=15) as client,
    ):
        person = new_person(client)
        with calculating(client, person) as answered:
            known = len(answered)
            owner_url = postgres_server.url(postgres_url.rpartition("/")[2])
            run(save, BACKUP=str(tmp_path), PYCALC_DATABASE_URL=owner_url)
    restored_url = postgres_server.new_database()
    run(restore, BACKUP=str(tmp_path), RESTORED_URL=restored_url)
    with (
        pycalc(data=tmp_path / "after", database_url=restored_url) as server,
        httpx.Client(base_url=server.url, timeout=15) as client,
    ):
        restored = operands(client, person)
        assert restored == list(range(len(restored)))
        assert len(restored) >= known
        assert operands(client, person) == restored
