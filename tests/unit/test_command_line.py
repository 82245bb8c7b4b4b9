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
    """``python -m pycalc`` runs the command."""
    done = subprocess.run([sys.executable, "-m", "pycalc", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"pycalc {__version__}\n"


@pytest.mark.parametrize("command", ["serve", "relay", "migrate"])
def test_the_interpreters_shutdown_is_skipped(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's process ends at once with its status, even if its threads are in native code."""

    class Ended(Exception):
        """An exception that the test raises instead of ending the process."""

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(command_line, "main", lambda: 3)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(sys, "argv", ["pycalc", command])
    with pytest.raises(Ended) as ended:
        command_line.entry()
    assert ended.value.args == (3,)
