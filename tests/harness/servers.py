"""Real servers for tests and measurements, each a process tree on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import TypeAlias

from tests.harness.forked import ForkedProcess

# The PostgreSQL roles of servers, and of relays and consumers.
API_ROLE, CONSUMER_ROLE = "pycalc_api", "pycalc_consumer"
_TICKS = os.sysconf("SC_CLK_TCK")
# Deadlines, long enough for a busy machine.
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
# Keys that instances on one database must share.
KEYS = {"secret_keys": "k" * 32, "password_keys": "p" * 32}
_PASSWORD = "correct horse battery staple"
# Whether ``launch`` forks pycalc from a template instead of starting an interpreter. Only tests set this, to save
# time: measurements need processes that start as users start them.
forking = False

Process: TypeAlias = "subprocess.Popen[bytes] | ForkedProcess"


def free_port() -> int:
    """Return an unused port below the range of ephemeral ports."""
    while True:
        port = random.randrange(10_000, 30_000)  # noqa: S311  # no secret: so that parallel runs choose different ones
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    # Seconds from the command to the first 200.
    start_seconds: float
    process: Process = field(repr=False)

    @property
    def url(self) -> str:
        """Return the server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> Iterator[Path]:
        """Yield the folder in /proc of each process of the tree."""
        pending = [self.pid]
        while pending:
            process = Path(f"/proc/{pending.pop()}")
            yield process
            for children in process.glob("task/*/children"):
                pending += map(int, children.read_text().split())

    def cpu_seconds(self) -> float:
        """Return the processor time in seconds that the present processes of the tree have used."""
        fields = [(process / "stat").read_text().rpartition(")")[2].split() for process in self.processes()]
        return sum(int(field[11]) + int(field[12]) for field in fields) / _TICKS

    def memory_mib(self, key: str = "VmRSS") -> float:
        """Return the process tree's resident memory (VmRSS) or its peak (VmHWM) in MiB, summed over the processes."""
        total = 0
        for process in self.processes():
            for line in (process / "status").read_text().splitlines():
                if line.startswith(key + ":"):
                    total += int(line.split()[1])
        return total / 1024


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a command in its own process group; append its standard error to ``log``, or drop it."""
    with (log or Path(os.devnull)).open("ab") as errors:
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **environment},
            start_new_session=True,
        )


def launch(command: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> Process:
    """Start a command as ``spawn`` does. If ``forking`` is set and the command is pycalc's, fork it instead."""
    if forking and command[:3] == PYCALC:
        return ForkedProcess(command[3:], {**os.environ, **environment}, log or Path(os.devnull))
    return spawn(command, environment, log)


def answers(url: str) -> bool:
    """Return whether a GET of this URL succeeds."""
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  # one of our own servers
    except OSError:
        return False
    return True


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    path: str,
    port: int,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[Server]:
    """Start a server, wait for a 200 on ``path``, and stop the server at the end; ``log`` gets its standard error."""
    started = perf_counter()
    process = launch(command, environment or {}, log)
    try:
        deadline = started + _START_SECONDS
        while not answers(f"http://127.0.0.1:{port}{path}"):
            if process.poll() is not None or perf_counter() > deadline:
                said = log.read_text(errors="replace")[-2_000:] if log is not None else ""
                raise RuntimeError(f"{name} did not start, status {process.poll()}\n{said}")
            sleep(0.005)
        yield Server(name, port, process.pid, perf_counter() - started, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_SECONDS)


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def bare(server: str) -> Iterator[Server]:
    """Run ``benchmarks.bare``, FastAPI routes without the service's code, under Uvicorn or Granian."""
    port = free_port()
    command = {
        "uvicorn": _python(
            "uvicorn",
            "benchmarks.bare:app",
            *(
                "--port",
                str(port),
                "--loop",
                "uvloop",
                "--http",
                "httptools",
                "--no-access-log",
                "--log-level",
                "error",
            ),
        ),
        "granian": _python(
            "granian",
            "benchmarks.bare:app",
            *(
                "--interface",
                "asgi",
                "--port",
                str(port),
                "--loop",
                "uvloop",
                "--no-access-log",
                "--log-level",
                "error",
            ),
        ),
    }[server]
    with running(f"bare FastAPI, {server}", command, "/hello/1", port) as started:
        yield started


def settings_of(data: Path, port: int, **settings: str) -> dict[str, str]:
    """Return a service's environment for tests: cheap password hashes and high limits.

    If ``settings`` has a ``database_url``, signing and password keys are added. Each of ``settings`` becomes a variable
    and replaces the default here, if there is one.
    """
    keys = KEYS if "database_url" in settings else {}
    return {
        **{f"PYCALC_{name.upper()}": key for name, key in keys.items() if not settings.keys() & {name, f"{name}_file"}},
        "PYCALC_DATA_DIR": str(data),
        "PYCALC_PORT": str(port),
        "PYCALC_BCRYPT_ROUNDS": "4",
        "PYCALC_LOGIN_LIMIT": "1000/minute",
        "PYCALC_REGISTER_LIMIT": "",
        "PYCALC_PAGE_LIMIT": "",
        "PYCALC_RATE_LIMIT": "100000000/minute; 1000000000/day",
        "PYCALC_COMPUTE_QUOTA": "1000000s/hour",
        "PYCALC_DIGITS_QUOTA": "9TB/day",
        "PYCALC_HISTORY_QUOTA": "1000000000",
        "PYCALC_METRICS_SECONDS": "0",
        **{f"PYCALC_{name.upper()}": value for name, value in settings.items()},
    }


PYCALC = _python("pycalc")
SERVE = [*PYCALC, "serve"]
# A prefix for tests of what a forked process inherits from its template, such as the umask.
NEW_INTERPRETER = ("env",)
# A lifetime of access tokens in seconds, for programs that use them longer than the default lifetime.
A_DAY = "86400"


@contextmanager
def pycalc(
    server: str = "serve",
    data: Path | None = None,
    *,
    port: int | None = None,
    prefix: Sequence[str] = (),
    log: Path | None = None,
    **settings: str,
) -> Iterator[Server]:
    """Run pycalc on a data folder (default: an empty one), as ``pycalc serve`` or under Uvicorn.

    ``prefix`` is a command that runs pycalc in a new interpreter, such as strace; ``log`` is the file for its standard
    error.
    """
    port = port or free_port()
    with TemporaryDirectory(prefix="pycalc-") as empty:
        environment = settings_of(data or Path(empty), port, **settings)
        command = {
            "serve": SERVE,
            "uvicorn": _python(
                "uvicorn",
                "pycalc.main:app",
                *("--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
                *("--log-level", "error"),
            ),
        }[server]
        with running(f"pycalc, {server}", [*prefix, *command], "/healthz", port, environment, log) as started:
            yield started


@contextmanager
def background(command: str, *, port: int | None = None, log: Path | None = None, **settings: str) -> Iterator[Server]:
    """Run ``pycalc relay`` or ``pycalc consume``, which need no keys; the port serves metrics.

    If ``database_url`` has the PostgreSQL role of servers, as from ``Postgres.new_database``, it is replaced by the
    role of consumers.
    """
    port = port or free_port()
    settings["database_url"] = settings["database_url"].replace(f"//{API_ROLE}@", f"//{CONSUMER_ROLE}@")
    with TemporaryDirectory(prefix="pycalc-") as data:
        keys = {f"PYCALC_{name.upper()}" for name in KEYS}
        environment = {
            name: value for name, value in settings_of(Path(data), port, **settings).items() if name not in keys
        }
        with running(f"pycalc {command}", background_command(command), "/metrics", port, environment, log) as started:
            yield started


def background_command(command: str) -> list[str]:
    """Return the command line of ``pycalc relay`` or ``pycalc consume``."""
    return _python("pycalc", command)


def post(url: str, body: object) -> dict[str, str]:
    """Send JSON and return the parsed answer."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # our own server
        answer: dict[str, str] = json.load(response)
        return answer


def log_in(server: Server, username: str = "bench") -> str:
    """Register an account and return its access token."""
    account = {"username": username, "email": f"{username}@example.com", "password": _PASSWORD}
    post(f"{server.url}/register", account)
    return post(f"{server.url}/login", {"username": username, "password": _PASSWORD})["access_token"]
