"""What becomes of a command's output: the exit status says when it was lost, and does without when nobody wants it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def migrate(folder: Path, output: int, by: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command that says one line to a descriptor, by another command perhaps."""
    environment = {**os.environ, "PYCALC_DATA_DIR": str(folder)}
    environment.pop("PYTHONUNBUFFERED", None)
    command = [*by, sys.executable, "-m", "pycalc.cli", "migrate"]
    return subprocess.run(
        command, env=environment, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )


def test_a_full_disk(tmp_path: Path) -> None:
    """What was to be kept is not: the status and the reason say so."""
    with Path("/dev/full").open("w") as full:
        done = migrate(tmp_path, full.fileno())
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "pycalc: [Errno 28] No space left on device")


def test_no_output_at_all(tmp_path: Path) -> None:
    """Where the caller has closed it nothing is lost that anybody wanted."""
    done = migrate(tmp_path, subprocess.DEVNULL, ["sh", "-c", 'exec "$@" >&-', "sh"])
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    """As ``| head`` does when it has seen enough."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = migrate(tmp_path, writing)
    finally:
        os.close(writing)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
