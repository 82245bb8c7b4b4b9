"""The command line: how it is started, and its version."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pycalc import __version__
from pycalc.cli.main import main


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """``pycalc --version`` prints name and version, and ends well."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pycalc {__version__}\n"


def test_the_package_runs_as_a_module() -> None:
    """``python -m pycalc`` is the command."""
    done = subprocess.run([sys.executable, "-m", "pycalc", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"pycalc {__version__}\n"
