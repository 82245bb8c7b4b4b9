"""The command ``make bench``: run the benchmarks that benchmarks/README.md describes."""

from __future__ import annotations

import os
import platform
import shutil
import sys

from benchmarks.attack import attack
from benchmarks.cache import cache
from benchmarks.cold_start import cold_start
from benchmarks.console import console
from benchmarks.estimates import estimates
from benchmarks.event_loop import event_loop
from benchmarks.event_streams import event_streams
from benchmarks.fleet import fleet
from benchmarks.headline import headline
from benchmarks.history import exports, pages
from benchmarks.operations import operations
from benchmarks.recording import recording
from benchmarks.results import batches, long_results, memory
from benchmarks.sizes import sizes
from benchmarks.streams import streams
from benchmarks.support.timing import CONNECTIONS
from benchmarks.tools import tools

PARTS = {
    "headline": headline,
    "recording": recording,
    "streams": streams,
    "event-streams": event_streams,
    "sizes": sizes,
    "results": long_results,
    "memory": memory,
    "batches": batches,
    "tools": tools,
    "cache": cache,
    "fleet": fleet,
    "attack": attack,
    "event-loop": event_loop,
    "estimates": estimates,
    "operations": operations,
    "history": pages,
    "export": exports,
    "cold-start": cold_start,
    "console": console,
}


def main() -> None:
    """Run the benchmarks named on the command line, or all of them."""
    if shutil.which("wrk") is None:
        sys.exit("make bench needs wrk")
    # An installed package is compiled. With this variable, each start of a server would compile it again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"Python {platform.python_version()}, {platform.machine()}, {CONNECTIONS} connections, wrk with one thread")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
