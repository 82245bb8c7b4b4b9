"""Commands without signing keys exit with an error wherever several instances must share the keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.accounts import PASSWORD

SERVE = ("serve",)
CREATE_ADMIN = ("admin", "create", "--username=root", "--email=root@example.com")
PRODUCTION = {"PYCALC_ENV": "production"}
CLOUD_RUN = {"K_SERVICE": "pycalc"}
POSTGRESQL = {"PYCALC_DATABASE_URL": "postgresql://127.0.0.1:1/nothing"}
# Several server processes on one port, which need PostgreSQL.
SUPERVISED = {"PYCALC_WORKERS": "2", **POSTGRESQL}


def run(data: Path, arguments: tuple[str, ...], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run pycalc with exactly these settings on a data folder, with a password on standard input."""
    return subprocess.run(
        [sys.executable, "-m", "pycalc", *arguments],
        env={"PYCALC_DATA_DIR": str(data), "PYCALC_PORT": "0", "PYTHONPATH": ":".join(sys.path), **settings},
        cwd=data.parent,
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (SERVE, PRODUCTION),
        (SERVE, CLOUD_RUN),
        (SERVE, POSTGRESQL),
        (SERVE, SUPERVISED),
        (CREATE_ADMIN, PRODUCTION),
        (CREATE_ADMIN, CLOUD_RUN),
        (CREATE_ADMIN, POSTGRESQL),
    ],
)
def test_without_keys_nothing_starts(tmp_path: Path, arguments: tuple[str, ...], settings: dict[str, str]) -> None:
    """In production, on Cloud Run and with PostgreSQL, a command without keys exits with 1 and writes no file."""
    data = tmp_path / "data"
    done = run(data, arguments, settings)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("pycalc: PYCALC_SECRET_KEYS is required (or PYCALC_SECRET_KEYS_FILE) in production")
    assert not data.exists()
