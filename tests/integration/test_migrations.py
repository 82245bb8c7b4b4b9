"""The migrations: they lead to the tables that the queries use, and the command that runs them can be repeated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from pycalc.db import migrations, open_database
from pycalc.db.tables import metadata

pytestmark = pytest.mark.anyio


def test_head_is_the_newest_revision() -> None:
    """The constant that spares Alembic's import at every start names the one end of the revisions' chain."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


async def test_migrated_tables_are_the_queries_tables(tmp_path: Path) -> None:
    """Alembic finds nothing to change between the migrated schema and the metadata: tables, columns, indexes."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    database = await open_database(f"sqlite:///{tmp_path / 'pycalc.db'}")
    try:
        assert await database.write(differences) == []
        assert await database.read(migrations.current) == migrations.HEAD
    finally:
        await database.aclose()


def test_the_command_migrates_and_can_be_repeated(tmp_path: Path) -> None:
    """``pycalc migrate`` makes the tables in an empty folder, says so, and finds nothing to do the second time."""
    command = [sys.executable, "-m", "pycalc.cli", "migrate"]
    for _ in range(2):
        done = subprocess.run(
            command,
            env={"PYCALC_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": ":".join(sys.path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "is up to date" in done.stdout
    assert (tmp_path / "data" / "pycalc.db").exists()
