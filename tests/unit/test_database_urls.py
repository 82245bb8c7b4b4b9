"""Errors in PYCALC_DATABASE_URL, and of the database: messages explain them without showing the password."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pycalc.db import open_database
from pycalc.db.postgres_url import location_of
from pycalc.errors import StoreUnavailable
from tests.harness.servers import free_port, settings_of

pytestmark = pytest.mark.anyio

MISTAKES = {
    "mysql://host/name": "there is no database for 'mysql'; known: sqlite, postgresql",
    "": "there is no database for ''",
    "postgresql://ada:hunt@er2@host/name": "written %40",
    "postgresql://ada:hunt/er2@host/name": "written %40, %2F",
    "postgresql://ada:hunt#er2@host/name": "written %40, %2F, %3F and %23",
    "postgresql://ada:hunt?er2@host/name": "written %40, %2F, %3F",
    "postgresql://ada:hunt?a=er2@host/name": "written %40, %2F, %3F",
    "postgresql://ada:hunt\N{ACCOUNT OF}er2@host/name": "it is not a valid URL; percent-encode",
    "postgresql://ada:[hunter2]@host/name": "it is not a valid URL; percent-encode",
    "postgresql://ada:hunt[er2@host/name": "it is not a valid URL; percent-encode",
    "postgresql://ada:hunter2/name": "write @ and the host after the user's name and password",
    "postgresql://ada:12hunt34er2/name": "the port must be a number from 1 to 65535",
    "postgresql://ada:hunt:er2/name": "the port must be a number from 1 to 65535",
    "postgresql://ada:hunt!er2,two:1/name": "the port must be a number from 1 to 65535",
    "postgresql://ada:hunter2@host:hunter2/name": "the port must be a number from 1 to 65535",
    "postgresql://ada:hunter2@host:/name": "the port must be a number from 1 to 65535",
    "postgresql//ada:hunter2@host/name": "there is no database for ''",
    "hunter2": "there is no database for ''",
    "postgresql://ada:hunter2@host:54x2/name": "the port must be a number from 1 to 65535",
    "postgresql://ada:hunter2@host:0/name": "the port must be a number from 1 to 65535",
    "postgresql://ada:hunter2@host:65536/name": "the port must be a number from 1 to 65535",
    "postgresql://ada:hunter2@host": "it names no database",
    "postgresql://ada:hunter2@host/": "it names no database",
    "postgresql://ada:hunter2@host/name?sslmode=no": "sslmode",
    "sqlite:pycalc.db": "sqlite:///PATH",
    "sqlite://ada:hunter2@host/name": "sqlite:///PATH",
    "postgresql://ada:hunt/a?er2@host/name": "written %40, %2F, %3F",
    "postgresql://ada:1/a?host=hunter2@host/name": "written %40, %2F, %3F",
    "sqlite:////tmp/pycalc.db?mode=ro": "without options",
}


@pytest.mark.parametrize(("url", "sentence"), MISTAKES.items())
async def test_a_mistake_is_named(url: str, sentence: str) -> None:
    """The message for an invalid URL says what is wrong with it, and contains no part of the password."""
    with pytest.raises((ValueError, StoreUnavailable)) as refusal:
        await open_database(url)
    told = str(refusal.value)
    assert sentence in told
    assert "hunt" not in told
    assert "er2" not in told


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ada:hunter2@db.example/pycalc", "db.example:5432/pycalc"),
        ("postgresql://db.example:6543/pycalc?sslmode=require", "db.example:6543/pycalc"),
        ("postgresql://ada@[::1]:5433/pycalc", "[::1]:5433/pycalc"),
        ("postgresql://ada@[::1]/pycalc", "[::1]:5432/pycalc"),
        ("postgresql://one:1,two:2/pycalc", "one:1,two:2/pycalc"),
        ("postgresql://ada:hunter2@/pycalc?host=/cloudsql/project:region:name", "/cloudsql/project:region:name/pycalc"),
        ("postgresql://ada@host?dbname=pycalc", "host:5432/pycalc"),
    ],
)
def test_a_location_is_host_port_and_database(url: str, place: str) -> None:
    """The location of a database URL, for log and console, is host, port and database only."""
    assert location_of(url) == place


async def test_the_driver_s_message_is_for_operators_only() -> None:
    """A connection error has location and driver's message in its text, but not in the detail for clients."""
    with pytest.raises(StoreUnavailable) as refusal:
        await open_database("postgresql://ada:hunter2@127.0.0.1:1/pycalc")
    assert refusal.value.detail == "The database is not available."
    assert str(refusal.value).startswith(
        "The database is not available. (127.0.0.1:1/pycalc: ConnectionRefusedError: [Errno 111] "
    )
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["another program's tables", "another program's revisions", "no database", "a folder"])
async def test_another_program_s_file_is_named(tmp_path: Path, kind: str) -> None:
    """If a file is not a database, the error names its path.

    If it is another program's database, the error names one of its tables, or the revision of its tables.
    """
    file = tmp_path / "other.db"
    if kind == "a folder":
        file.mkdir()
    elif kind == "no database":
        file.write_bytes(b"no database" * 1_000)
    else:
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE recipes (name)")
            if kind == "another program's revisions":
                other.execute("CREATE TABLE alembic_version (version_num)")
                other.execute("INSERT INTO alembic_version VALUES ('ab12cd34')")
            other.commit()
    sentences = {
        "another program's tables": "belongs to another program: it has a table 'recipes'",
        "another program's revisions": "belongs to another program: its tables are of revision 'ab12cd34'",
        "no database": f"({file}: DatabaseError: file is not a database)",
        "a folder": f"({file}: OperationalError: unable to open database file)",
    }
    with pytest.raises(StoreUnavailable) as refusal:
        await open_database(f"sqlite:///{file}")
    assert sentences[kind] in str(refusal.value)


@pytest.mark.parametrize(
    "command",
    [["serve"], ["migrate"], ["relay"], ["consume"], ["admin", "create", "--username=root", "--email=a@b.example"]],
)
def test_every_command_says_why(tmp_path: Path, command: list[str]) -> None:
    """If the database is unreachable, a command prints its host, port and name, and the reason.

    It prints neither the password nor a traceback.
    """
    url = "postgresql://ada:hunter2@127.0.0.1:1/pycalc"
    settings = settings_of(tmp_path, free_port(), database_url=url, stream_url="kafka://127.0.0.1:9/events")
    done = subprocess.run(
        [sys.executable, "-m", "pycalc", *command],
        env={**os.environ, **settings},
        input="correct horse battery staple\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "pycalc: The database is not available. (127.0.0.1:1/pycalc: ConnectionRefusedError: [Errno 111] "
    )
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
