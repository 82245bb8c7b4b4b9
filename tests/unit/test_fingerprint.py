"""The fingerprint of the code and the libraries that compute results.

The keys of a shared cache contain it, so that no version of the service gets results that another version computed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pycalc
from pycalc.cache import open_cache
from pycalc.observability.metrics import Metrics
from pycalc.services.calculations import fingerprint
from pycalc.services.calculations.fingerprint import arithmetic_version

PACKAGE = Path(pycalc.__file__).parent


def version_of(folder: Path) -> str:
    """Return the fingerprint that the copy of the package in ``folder`` computes."""
    program = "from pycalc.services.calculations.fingerprint import arithmetic_version; print(arithmetic_version())"
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_it_changes_with_the_arithmetic_and_with_nothing_else(tmp_path: Path) -> None:
    """In a copy of the package, a new constant below ``operations`` changes the fingerprint; one elsewhere does not."""
    shutil.copytree(PACKAGE, tmp_path / "pycalc", ignore=shutil.ignore_patterns("__pycache__", "web"))
    assert version_of(tmp_path) == arithmetic_version()
    services = tmp_path / "pycalc/services"
    accounts, thresholds = services / "accounts/accounts.py", services / "operations/numbers/thresholds.py"
    accounts.write_text(accounts.read_text() + "\n_MORE = 1\n")
    assert version_of(tmp_path) == arithmetic_version()
    thresholds.write_text(thresholds.read_text() + "\n_MORE = 1\n")
    assert version_of(tmp_path) != arithmetic_version()


def test_every_file_of_the_operations_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of any file of the operations, in any subfolder, changes the fingerprint."""
    package = tmp_path / "pycalc"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "web"))
    monkeypatch.setattr(fingerprint, "__file__", str(package / "services/calculations/fingerprint.py"))
    files = sorted((package / "services/operations").rglob("*.py"))
    assert package / "services/operations/power/rational.py" in files
    names = [arithmetic_version()]
    for file in files:
        file.write_text(file.read_text() + "\n_MORE = 1\n")
        names.append(arithmetic_version())
    assert len({*names}) == len(names) == len(files) + 1


def test_it_changes_with_what_is_kept_of_a_result(tmp_path: Path) -> None:
    """Changing the number of stored digits changes the fingerprint."""
    shutil.copytree(PACKAGE, tmp_path / "pycalc", ignore=shutil.ignore_patterns("__pycache__", "web"))
    results = tmp_path / "pycalc/models/results.py"
    results.write_text(results.read_text().replace("STORED_DIGITS = 1_000", "STORED_DIGITS = 2_000"))
    assert version_of(tmp_path) != arithmetic_version()


@pytest.mark.parametrize("library", ["version", "mp_version", "mpfr_version", "mpc_version"])
def test_it_changes_with_the_libraries(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """Another version of GMP, MPFR, MPC or their bindings changes the fingerprint."""
    before = arithmetic_version()
    monkeypatch.setattr(fingerprint, library, lambda: "0.0")
    assert arithmetic_version() != before


@pytest.mark.anyio
async def test_a_cache_in_the_process_needs_no_fingerprint() -> None:
    """The in-process cache does not compute the fingerprint, so no file is read for it."""

    def unwanted() -> str:
        raise AssertionError("the in-process cache needs no fingerprint")

    await (await open_cache("memory://", Metrics(), unwanted)).aclose()
