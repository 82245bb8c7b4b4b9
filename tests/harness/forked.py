"""Processes of pycalc forked from a template process that has imported its modules, which saves most of a start.

They have the template's umask, its hash seed and what the interpreter read from the environment at its start, and they
skip the interpreter's shutdown. Tests of these things need a new interpreter.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from signal import SIGKILL, SIGTERM
from subprocess import TimeoutExpired

# Each process of the tests has a template of its own, which multiprocessing starts when it is first needed.
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "alembic.command",  # each new database is migrated
        "anyio._backends._asyncio",
        "jwt",
        "pycalc.cache.redis.cache",
        "pycalc.cli.configuration",
        "pycalc.cli.main",
        "pycalc.cli.serve",
        "pycalc.cli.workers",
        "pycalc.db.postgres",
        "pycalc.db.sqlite",
        "pycalc.server.serve",
        "pycalc.streaming.memory",
    ]
)


class ForkedProcess:
    """A running ``python -m pycalc``, with those methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start the process in its own process group, and append its standard error to ``log``."""
        given = (list(arguments), dict(environment), str(Path.cwd()), str(log))
        self._process = _CONTEXT.Process(target=_run, args=given, daemon=True)  # ends with the tests at the latest
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return the exit status, or minus the number of the signal that ended the process, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return ``returncode``."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return ``returncode``; raise TimeoutExpired after ``timeout`` seconds."""
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired("pycalc", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):  # the template's process has just noted the end of this one
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM to the process, if it still runs."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        self.send_signal(SIGKILL)


def _run(arguments: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    """Run pycalc in this forked process as the command line would, with standard output dropped."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, file in enumerate((os.devnull, os.devnull, log)):
        opened = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["pycalc", *arguments]
    runpy.run_module("pycalc", run_name="__main__", alter_sys=True)
