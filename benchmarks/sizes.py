"""A benchmark of results of 21 to 100,000 digits, computed and cached, compared with routes of bare FastAPI."""

from __future__ import annotations

import statistics
import zlib
from functools import partial
from typing import NamedTuple

import gmpy2

from benchmarks.support.timing import burst, timed
from pycalc.routers.http.compression import digits_compressor
from tests.harness.servers import Server, bare, log_in, pycalc

ROUNDS = 1
SECONDS = 2
CONNECTIONS = 16
# Numbers of digits, each with the index of a Fibonacci number of this length.
SIZES = {"21": 100, "1 k": 4_783, "10 k": 47_845, "100 k": 478_465}
ENCODINGS = ("identity", "gzip", "zstd")


class _Case(NamedTuple):
    """A server that computes results or answers from its cache, and the bare route that returns the same text."""

    title: str
    server: Server
    token: str
    yardstick: str


def sizes() -> None:
    """Print the rate for each size and encoding, and its ratio to the bare route's rate in the same round."""
    print(f"\n## Results by size, text/plain ({ROUNDS} rounds of {SECONDS} s, {CONNECTIONS} connections, medians)\n")
    print("The yardstick is a bare FastAPI route under Granian that computes, or that sends a text (hit).\n")
    print("| digits | | yardstick/s | " + " | ".join(f"{encoding}/s" for encoding in ENCODINGS) + " |")
    print("|---|---|---|" + "---|" * len(ENCODINGS))
    with bare("granian") as plain, pycalc() as cached, pycalc(cache_url="memory://?max_bytes=0") as uncached:
        cases = [
            _Case("computed", uncached, log_in(uncached), "/fibonacci/"),
            _Case("hit", cached, log_in(cached), "/text/"),
        ]
        for digits, n in SIZES.items():
            for case in cases:
                _print(digits, n, case, plain)
    _print_gzip()


def _print(digits: str, n: int, case: _Case, plain: Server) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ("yardstick", *ENCODINGS)}
    for number in range(ROUNDS + 1):
        round_ = {"yardstick": _rate(plain, f"{case.yardstick}{n}", None, "identity")}
        for encoding in ENCODINGS:
            round_[encoding] = _rate(case.server, f"/fibonacci/{n}", case.token, encoding)
        if number:  # the first round warms up
            for name, rate in round_.items():
                rates[name].append(rate)
    cells = [f"{statistics.median(rates['yardstick']):,.0f}"]
    for encoding in ENCODINGS:
        ratio = statistics.median(a / b for a, b in zip(rates[encoding], rates["yardstick"], strict=True))
        cells.append(f"{statistics.median(rates[encoding]):,.0f} (**{ratio:.2f}**)")
    print(f"| {digits} | {case.title} | {' | '.join(cells)} |", flush=True)


def _rate(server: Server, path: str, token: str | None, encoding: str) -> float:
    headers = {"Accept": "text/plain", "Accept-Encoding": encoding}
    return burst(server, path, token, SECONDS, connections=CONNECTIONS, headers=headers).per_second


def _print_gzip() -> None:
    """Compare the service's gzip, which uses only Huffman codes, with zlib, which also searches for repetitions."""
    digits = gmpy2.fib(478_465).digits().encode()
    ours = partial(_gzipped, digits)
    theirs = partial(zlib.compress, digits, 1)
    pairs = [(timed(ours), timed(theirs)) for _ in range(20 * ROUNDS)]
    share, default = (len(compress()) / len(digits) for compress in (ours, theirs))
    ratio = statistics.median(our / their for our, their in pairs)
    print(f"\n- gzip of 100,000 digits: **{share:.3f}** of the length (target 0.44; searching {default:.3f}), ", end="")
    print(f"in **{ratio:.2f}** of the time of a search for repetitions (target 0.8)")


def _gzipped(digits: bytes) -> bytes:
    compressor = digits_compressor("gzip")
    return compressor.compress(digits) + compressor.flush()
