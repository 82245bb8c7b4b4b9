"""The main benchmark: a recorded calculation compared with a bare FastAPI route."""

from __future__ import annotations

import statistics

from benchmarks.support.timing import Load, burst
from tests.harness.servers import Server, bare, log_in, pycalc

ROUNDS = 5
SECONDS = 4


def headline() -> None:
    """Print the request rates of pycalc and of the bare route under Uvicorn and Granian, and their ratios."""
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
                loads[server.name].append(burst(server, path, token, SECONDS))
        for server in (a, d, b, c):
            of = loads[server.name]
            print(
                f"| {server.name} | {_median(of, 'per_second'):.0f} | {_median(of, 'cpu_us'):.0f} | "
                f"{_median(of, 'p99_ms'):.1f} | {idle[server.name]:.0f} | {server.memory_mib():.0f} | "
                f"{server.start_seconds:.2f} |"
            )
        print()
        _ratio("pycalc serve / bare FastAPI under Uvicorn", loads[b.name], loads[a.name])
        _ratio("both under Uvicorn", loads[c.name], loads[a.name])
        _ratio("both under Granian", loads[b.name], loads[d.name])
        print(f"- memory of pycalc, idle: **{idle[b.name]:.0f} MiB** (target 80)")


def _median(loads: list[Load], name: str) -> float:
    figures: list[float] = [getattr(load, name) for load in loads]
    return statistics.median(figures)


def _ratio(title: str, ours: list[Load], theirs: list[Load]) -> None:
    """Print our rate divided by the bare route's in the same round: the median, the smallest and the largest ratio."""
    ratios = sorted(our.per_second / their.per_second for our, their in zip(ours, theirs, strict=True))
    print(f"- {title}: **{statistics.median(ratios):.2f}** (from {ratios[0]:.2f} to {ratios[-1]:.2f})")
