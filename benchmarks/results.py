"""Benchmarks of long results over HTTP (their time, compared with gmpy2 alone, and their memory) and of batches."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import gmpy2

from benchmarks.support.timing import Client, burst, timed
from tests.harness.servers import log_in, pycalc

UNCACHED = "memory://?max_bytes=0"
# For each result: its title, its path, the computation by gmpy2 alone, the target ratio, and the number of timings.
RESULTS: tuple[tuple[str, str, Callable[[], object], float, int], ...] = (
    ("F(10^6)", "/fibonacci/1000000", lambda: gmpy2.fib(10**6).digits(), 1.25, 15),
    ("F(10^7)", "/fibonacci/10000000", lambda: gmpy2.fib(10**7).digits(), 1.0, 7),
    ("F(10^8)", "/fibonacci/100000000", lambda: gmpy2.fib(10**8).digits(), 0.8, 5),
    ("3^43,800,000", "/pow/3/43800000", lambda: (gmpy2.mpz(3) ** 43_800_000).digits(), 0.5, 5),
    ("(10^6)!", "/factorial/1000000", lambda: gmpy2.fac(10**6).digits(), 1.1, 7),
)


def long_results() -> None:
    """Print the time of each long result, from the request to the last byte, and the time of gmpy2 alone."""
    sys.set_int_max_str_digits(0)
    print("\n## Long results over HTTP, text/plain, not cached, beside gmpy2 computing and printing\n")
    print("| result | digits | pycalc s | gmpy2 s | ratio (median of pairs) | target |")
    print("|---|---|---|---|---|---|")
    with pycalc(cache_url=UNCACHED) as server:
        client = Client(server, log_in(server))
        for title, path, yardstick, target, times in RESULTS:
            digits = client.fetch(path)
            pairs = [(timed(yardstick), timed(partial(client.fetch, path))) for _ in range(times)]
            ratio = statistics.median(ours / theirs for theirs, ours in pairs)
            theirs, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(f"| {title} | {digits:,} | {ours:.3f} | {theirs:.3f} | **{ratio:.2f}** | {target} |")


def memory() -> None:
    """Print the peak memory of the server and its worker process together, while they compute F(10^8)."""
    with pycalc(cache_url=UNCACHED, compute_workers="1") as server:
        client = Client(server, log_in(server))
        client.fetch("/fibonacci/10000")
        idle = server.memory_mib()
        digits = client.fetch("/fibonacci/100000000")
        peak = server.memory_mib("VmHWM")
    print(f"\n## Memory for F(10^8)\n\n- server and worker at their peaks {peak:.0f} MiB: ", end="")
    print(f"**{peak * 2**20 / digits:.1f} bytes a digit** (idle before: {idle:.0f} MiB; target 12)")


def batches() -> None:
    """Print the calculations per second by batches and by single requests."""
    items = [{"operation": "fibonacci", "input": {"n": n % 300}} for n in range(1000)]
    with pycalc() as server, TemporaryDirectory() as folder:
        token = log_in(server)
        script = Path(folder) / "batch.lua"
        body = json.dumps({"operations": items})
        script.write_text(
            f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [[{body}]]\n'
        )
        single, many = [], []
        for _ in range(3):
            single.append(burst(server, "/fibonacci/100", token, 4).per_second)
            many.append(1000 * burst(server, "/batch", token, 4, str(script), connections=4).per_second)
    a, b = statistics.median(many), statistics.median(single)
    print("\n## Batches of 1,000 small calculations\n")
    print(f"- {a:,.0f} calculations/s in batches (4 connections), {b:,.0f} in single requests (64): ", end="")
    print(f"**{a / b:.1f}** times (target 6)")
