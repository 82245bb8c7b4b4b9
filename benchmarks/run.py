"""``make bench``: every figure of benchmarks/README.md, in one run."""

from __future__ import annotations

import platform
import re
import shutil
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter

import gmpy2

from tests.services.servers import Server, bare, log_in, pycalc

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Load:
    """What one burst of requests showed."""

    per_second: float
    cpu_us: float
    p99_ms: float


def burst(server: Server, path: str, token: str | None, seconds: int = SECONDS) -> Load:
    """Ask for a path from CONNECTIONS connections at once; every answer must be a 2xx."""
    header = ["-H", f"Authorization: Bearer {token}"] if token else []
    before = server.cpu_seconds()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency", *header, server.url + path]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    requests = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()  # type: ignore[union-attr]
    p99 = float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])  # type: ignore[index]
    return Load(rate, (server.cpu_seconds() - before) / requests * 1e6, p99)


def headline() -> None:
    """Recorded calculation beside a bare FastAPI route, under each server program."""
    print(f"\n## A recorded calculation beside a bare FastAPI route ({ROUNDS} rounds of {SECONDS} s, medians)\n")
    print("| server | requests/s | CPU us/request | p99 ms | RSS idle MiB | RSS loaded MiB | first 200, s |")
    print("|---|---|---|---|---|---|---|")
    with bare("uvicorn") as a, pycalc() as b, pycalc("uvicorn") as c, bare("granian") as d:
        idle = {server.name: server.memory_mib() for server in (a, b, c, d)}
        targets: list[tuple[Server, str, str | None]] = [(a, "/hello/100", None), (d, "/hello/100", None)]
        targets += [(server, "/fibonacci/100", log_in(server)) for server in (b, c)]
        loads: dict[str, list[Load]] = {server.name: [] for server in (a, d, b, c)}
        for server, path, token in targets:
            burst(server, path, token, 1)
        for _ in range(ROUNDS):
            for server, path, token in targets:
                loads[server.name].append(burst(server, path, token))
        for server in (a, d, b, c):
            of = loads[server.name]
            print(
                f"| {server.name} | {median(of, 'per_second'):.0f} | {median(of, 'cpu_us'):.0f} | "
                f"{median(of, 'p99_ms'):.1f} | {idle[server.name]:.0f} | {server.memory_mib():.0f} | "
                f"{server.start_seconds:.2f} |"
            )
        print()
        ratio("pycalc serve / bare FastAPI under Uvicorn", loads[b.name], loads[a.name])
        ratio("both under Uvicorn", loads[c.name], loads[a.name])
        ratio("both under Granian", loads[b.name], loads[d.name])


def median(loads: list[Load], name: str) -> float:
    """Return the median of one figure."""
    figures: list[float] = [getattr(load, name) for load in loads]
    return statistics.median(figures)


def ratio(title: str, ours: list[Load], theirs: list[Load]) -> None:
    """Print how many times the yardstick's rate ours is, round by round."""
    ratios = sorted(our.per_second / their.per_second for our, their in zip(ours, theirs, strict=True))
    print(f"- {title}: **{statistics.median(ratios):.2f}** (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    started = perf_counter()
    work()
    return perf_counter() - started


def fetch(server: Server, path: str, token: str, accept: str) -> int:
    """Ask for a path and read the whole answer; return its length."""
    headers = {"Authorization": f"Bearer {token}", "Accept": accept}
    request = urllib.request.Request(server.url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=300) as response:
        return len(response.read())


def million() -> None:
    """F(10^6) over HTTP, authenticated, verified and recorded, beside gmpy2 alone."""
    ours, theirs = [], []
    service: AbstractContextManager[Server] = pycalc(cache_url="memory://?max_bytes=0")
    with service as server:
        token = log_in(server)
        fetch(server, "/fibonacci/1000000", token, "application/json")
        for _ in range(9):
            theirs.append(timed(lambda: gmpy2.fib(10**6).digits()))
            ours.append(timed(lambda: fetch(server, "/fibonacci/1000000", token, "application/json")))
    print("\n## F(10^6) over HTTP, not cached\n")
    a, b = statistics.median(ours) * 1000, statistics.median(theirs) * 1000
    print(f"- pycalc {a:.1f} ms, `gmpy2.fib(10**6).digits()` {b:.1f} ms: {a / b:.2f} (medians of 9, alternating)")


def main() -> None:
    """Run everything."""
    if shutil.which("wrk") is None:
        sys.exit("make bench needs wrk")
    print(f"Python {platform.python_version()}, {platform.machine()}, {CONNECTIONS} connections, wrk with one thread")
    headline()
    million()


if __name__ == "__main__":
    main()
