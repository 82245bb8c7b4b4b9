"""Load generators and timers for the benchmarks."""

from __future__ import annotations

import http.client
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

from tests.harness.servers import Server

CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Load:
    """The results of one burst of requests."""

    per_second: float
    cpu_us: float
    p99_ms: float


def burst(
    server: Server,
    path: str,
    token: str | None,
    seconds: int,
    script: str | None = None,
    connections: int = CONNECTIONS,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Request a path on many connections for ``seconds`` seconds; raises RuntimeError if a request fails."""
    options = ["-H", f"Authorization: Bearer {token}"] if token else []
    options += [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    options += ["-s", script] if script else []
    before = server.cpu_seconds()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", *options, server.url + path]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    requests = int(_found(r"(\d+) requests in", output))
    p99 = (
        float(_found(r"99%\s+([\d.]+)", output))
        * {"us": 0.001, "ms": 1, "s": 1000}[_found(r"99%\s+[\d.]+(\w+)", output)]
    )
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", output))
    return Load(rate, (server.cpu_seconds() - before) / requests * 1e6, p99)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(text)
    return match[1]


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    started = perf_counter()
    work()
    return perf_counter() - started


class Client:
    """A client with a persistent connection."""

    def __init__(self, server: Server, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "text/plain"}

    def fetch(self, path: str) -> int:
        """Request a path; return the length of the body in bytes. Raises RuntimeError unless the status is 200."""
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {response.read()[:500]!r}")
        length = 0
        while part := response.read(1 << 20):
            length += len(part)
        return length
