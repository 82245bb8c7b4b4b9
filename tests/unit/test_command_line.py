"""The command line: its start, its version and its end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pycalc import __version__
from pycalc.cli import main as command_line
from pycalc.cli.main import main


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """``pycalc --version`` prints name and version and exits with status 0."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pycalc {__version__}\n"


def test_the_package_runs_as_a_module() -> None:
    """``python -m pycalc`` runs the command. The version is printed without importing the arithmetic."""
    command = [sys.executable, "-X", "importtime", "-m", "pycalc", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"pycalc {__version__}\n"
    assert "gmpy2" not in done.stderr


@pytest.mark.parametrize(
    ("command", "version", "ends_at_once"),
    [
        ("serve", (3, 13), True),
        ("relay", (3, 13), True),
        ("consume", (3, 13), True),
        ("serve", (3, 14), False),
        ("migrate", (3, 13), False),
        ("dead-letters", (3, 13), False),
    ],
)
def test_only_services_skip_the_interpreters_shutdown(
    command: str, version: tuple[int, int], ends_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only services exit without the interpreter's regular shutdown.

    A service's threads may be in native code, which CPython before 3.14 can't end.
    """

    class Ended(Exception):
        """An exception that the test raises instead of ending the process."""

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(command_line, "main", lambda: 3)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(sys, "argv", ["pycalc", command])
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(Ended if ends_at_once else SystemExit) as ended:
        command_line.entry()
    assert ended.value.args == (3,)
