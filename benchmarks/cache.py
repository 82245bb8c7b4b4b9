"""A benchmark of a hit in the local cache, a hit in Redis and a miss, compared with a bare FastAPI route."""

from __future__ import annotations

import statistics
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.support.timing import Load, burst
from tests.harness.redis import redis
from tests.harness.servers import Server, bare, log_in, pycalc

ROUNDS = 3
SECONDS = 3
# A result of 6,001 digits, computed in 0.2 ms: expensive enough to be looked up in Redis, cheap enough for the event
# loop.
_ONE = "/pow/10007/1500"
_FRESH = """
local n = {start}
request = function()
  n = n + 1
  return wrk.format("GET", "/pow/" .. n .. "/1500")
end
"""


class _Case(NamedTuple):
    title: str
    server: Server
    token: str | None
    path: str
    # True when each request has a new operand.
    fresh: bool = False


def cache() -> None:
    """Print the request rates of cache hits and misses, and their ratios to a bare route's rate in the same round."""
    print(f"\n## What the cache saves ({ROUNDS} rounds of {SECONDS} s, medians; 6,001 digits a result)\n")
    print("| | requests/s | CPU us/request | p99 ms | of the bare route's rate |")
    print("|---|---|---|---|---|")
    with (
        redis() as server,
        bare("granian") as yardstick,
        pycalc(cache_url=server.url, rate_limit="") as near,
        pycalc(cache_url=f"{server.url}?max_bytes=0", rate_limit="") as far,
        pycalc(cache_url=f"{server.url}?max_bytes=0", rate_limit="100000000/hour") as limited,
        pycalc(cache_url="memory://?max_bytes=0") as without,
        TemporaryDirectory() as folder,
    ):
        cases = [
            _Case("bare FastAPI, granian", yardstick, None, "/hello/100"),
            _Case("hit in the process", near, log_in(near), _ONE),
            _Case("hit in Redis", far, log_in(far, "far"), _ONE),
            _Case("hit in Redis, with a limit that is counted there", limited, log_in(limited, "limited"), _ONE),
            _Case("miss: looked up in Redis, computed, stored there", far, log_in(far, "miss"), _ONE, fresh=True),
            _Case("miss, without Redis: computed", without, log_in(without), _ONE, fresh=True),
        ]
        _print(cases, _loads(cases, Path(folder)))


def _loads(cases: list[_Case], folder: Path) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {case.title: [] for case in cases}
    starts = count(10_000, 15_000)
    for number in range(ROUNDS + 1):
        for case in cases:
            script = folder / "fresh.lua"
            script.write_text(_FRESH.format(start=next(starts)))
            load = burst(case.server, case.path, case.token, SECONDS, str(script) if case.fresh else None)
            if number:  # the first round warms up
                loads[case.title].append(load)
    return loads


def _print(cases: list[_Case], loads: dict[str, list[Load]]) -> None:
    theirs = loads[cases[0].title]
    for case in cases:
        ours = loads[case.title]
        ratio = statistics.median(our.per_second / their.per_second for our, their in zip(ours, theirs, strict=True))
        rate, cpu, p99 = (
            statistics.median(getattr(load, name) for load in ours) for name in ("per_second", "cpu_us", "p99_ms")
        )
        print(f"| {case.title} | {rate:.0f} | {cpu:.0f} | {p99:.1f} | **{ratio:.2f}** |")
