"""Commands fail if they can't write their output, unless nobody reads it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from pycalc.db import open_database
from pycalc.db.base import DeadLetter
from pycalc.db.outbox import SqlDeadLetterStore
from tests.harness.servers import free_port

# So many dead letters that their list exceeds the buffer of a pipe or file.
DEAD_LETTERS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data folder with many dead letters."""

    async def prepare() -> None:
        async with aclosing(await open_database(f"sqlite:///{tmp_path / 'pycalc.db'}")) as database:
            letter = DeadLetter(0, "consumer", None, "topic/0/7", "not an event", b"junk", 2)
            await SqlDeadLetterStore(database).put([letter] * DEAD_LETTERS)

    asyncio.run(prepare())
    return tmp_path


@pytest.fixture(params=["dead-letters list", "migrate"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """Return a command with a long output, and one with a single line, in turn."""
    words: str = request.param
    return [sys.executable, "-m", "pycalc", *words.split()]


def run(folder: Path, output: int, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command whose output goes to a file descriptor."""
    environment = {**os.environ, "PYCALC_DATA_DIR": str(folder)}
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        command, env=environment, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )


def test_a_full_disk(folder: Path, command: list[str]) -> None:
    """If the disk is full, the command fails with the reason."""
    with Path("/dev/full").open("w") as full:
        done = run(folder, full.fileno(), command)
    assert (done.returncode, done.stderr) == (1, "pycalc: [Errno 28] No space left on device\n")


def test_no_output_at_all(folder: Path, command: list[str]) -> None:
    """If standard output is closed, that is no error, because nobody reads the output."""
    done = run(folder, subprocess.DEVNULL, ["sh", "-c", 'exec "$@" >&-', "sh", *command])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def unread() -> Iterator[int]:
    """Yield the write end of a pipe whose reader has closed it."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_a_reader_that_has_gone(folder: Path, command: list[str], unread: int) -> None:
    """If the reader of the output ends early, as in ``| head``, that is no error."""
    done = run(folder, unread, command)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_start_message_that_can_not_be_written(folder: Path, unread: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If its start message can't be written, a service ends with an error status."""
    monkeypatch.setenv("PYCALC_PORT", str(free_port()))
    done = run(folder, unread, [sys.executable, "-m", "pycalc", "serve"])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "pycalc: [Errno 32] Broken pipe"
