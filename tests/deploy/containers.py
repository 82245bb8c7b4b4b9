"""Containers without a container engine: separate namespaces, the image's user, and nothing writable but /data."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.images import Image
from tests.harness.processes import children
from tests.harness.waiting import wait_until

# The script of process 1 in a new process namespace; in the end, it replaces itself by the command.
_ENTER = """
root=$1 data=$2; shift 2
mount --rbind "$root" "$root"
mount --bind "$data" "$root/data"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec "$@"
"""


class Container:
    """A running container."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        wait_until(lambda: process.poll() is not None or bool(children(process.pid)), "the container's first process")
        self.pid = children(process.pid)[0] if process.poll() is None else process.pid

    def stop(self, seconds: float) -> int:
        """Send SIGTERM to the first process, as container engines do, and return its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(seconds)

    def status(self, field: str) -> str:
        """Return the value of a field in the first process's /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))


def _command(image: Image, data: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    user, _, group = image.config["User"].partition(":")
    variables = [f"{name}={value}" for name, value in {**image.environment, **environment}.items()]
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("sh", "-euc", _ENTER, "sh", str(image.root), str(data)),
        *("env", "--ignore-environment", *variables, "setpriv", "--no-new-privs"),
        *("chroot", f"--userspec={user}:{group}", "--groups=", str(image.root), *arguments),
    ]


@contextmanager
def running(image: Image, data: Path, *arguments: str, log: Path, **environment: str) -> Iterator[Container]:
    """Run the image's entry point with ``arguments``, by default the image's own, and write its output to ``log``.

    ``data`` is the folder that the container sees as /data.
    """
    entry = [*image.config["Entrypoint"], *(arguments or image.config["Cmd"])]
    with log.open("wb") as output:
        process = subprocess.Popen(_command(image, data, entry, environment), stdout=output, stderr=output)
    try:
        yield Container(process)
    finally:
        process.kill()  # the container's processes end with this one, by --kill-child
        process.wait()


def run(
    image: Image, data: Path, *command: str, seconds: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a new container in place of the entry point, and return its outcome.

    If it takes longer than ``seconds``, the container is ended and TimeoutExpired raised.
    """
    return subprocess.run(
        _command(image, data, command, environment), capture_output=True, text=True, timeout=seconds, check=False
    )
