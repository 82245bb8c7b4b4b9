"""Server processes that a test may stop, kill, pause and restart on the same port and data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, perf_counter, sleep

from tests.harness.waiting import wait_until

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class Missing(RuntimeError):
    """A program that a test needs is not installed."""


def program(name: str) -> str:
    """Return the path of a program; raises Missing if it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def accepts(port: int) -> bool:
    """Return whether a port of 127.0.0.1 accepts connections."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _stopped(pid: int) -> bool:
    """Return whether every thread of a process is stopped."""
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


class Daemon:
    """A server process on 127.0.0.1.

    If setpriv is installed, the kernel kills the process when the thread that started it ends.
    """

    def __init__(
        self, name: str, command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with_parent = shutil.which("setpriv")
        self.name = name
        self.port = port
        # Seconds from the command to the first accepted connection.
        self.start_seconds = 0.0
        self._started = 0.0
        self._command = [*([with_parent, "--pdeathsig", "KILL", "--"] if with_parent else []), *command]
        self._environment = {**os.environ, **(environment or {})}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the id of the running process."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        self.launch()
        self.await_connections()

    def launch(self) -> None:
        """Start the server without waiting until it accepts connections."""
        self._started = perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # so that Ctrl-C reaches the server's clients first
            )

    def await_connections(self) -> None:
        """Wait until the launched server accepts connections."""
        deadline = monotonic() + _START_SECONDS
        while not accepts(self.port):
            if self._process is None or self._process.poll() is not None or monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text(errors='replace')[-2_000:]}")
            sleep(0.01)
        self.start_seconds = perf_counter() - self._started

    def stop(self) -> None:
        """End the server by SIGTERM; kill it if that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the server's threads: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        # Each thread stops when it is scheduled next, which takes time on a busy machine.
        wait_until(lambda: _stopped(self.pid), f"{self.name} has stopped")

    def resume(self) -> None:
        """Continue the paused server."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
