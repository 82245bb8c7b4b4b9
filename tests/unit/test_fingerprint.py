"""The name of the arithmetic, by which cached results are kept apart."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pycalc
from pycalc.services.fingerprint import arithmetic_version

PACKAGE = Path(pycalc.__file__).parent


def version_of(folder: Path) -> str:
    """Return what a copy of the package says."""
    program = "from pycalc.services.fingerprint import arithmetic_version; print(arithmetic_version())"
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_it_changes_with_the_arithmetic_and_with_nothing_else(tmp_path: Path) -> None:
    """A copy elsewhere has the same name; one with another constant in an operation has another."""
    shutil.copytree(PACKAGE, tmp_path / "pycalc", ignore=shutil.ignore_patterns("__pycache__", "web"))
    assert version_of(tmp_path) == arithmetic_version()
    accounts, thresholds = (tmp_path / "pycalc/services" / name for name in ("accounts.py", "operations/thresholds.py"))
    accounts.write_text(accounts.read_text() + "\n_MORE = 1\n")
    assert version_of(tmp_path) == arithmetic_version()
    thresholds.write_text(thresholds.read_text() + "\n_MORE = 1\n")
    assert version_of(tmp_path) != arithmetic_version()
