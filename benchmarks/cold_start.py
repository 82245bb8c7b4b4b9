"""A benchmark of a cold start: the import time, and the time to the first answer, compared with bare FastAPI."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.support.timing import timed
from tests.harness.servers import Server, bare, pycalc

ROUNDS = 9
_IMPORTED = (
    "pycalc.cli.main",
    "pycalc.main",
    "pycalc.server.serve",
    "pycalc.services.compute.worker",
    "benchmarks.bare",
)


def _started(server: AbstractContextManager[Server]) -> float:
    """Start a server, return the seconds until its first answer with status 200, and stop it."""
    with server as running:
        return running.start_seconds


def _importing(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}" if module else ""], check=True)


def cold_start() -> None:
    """Print the times of imports and starts, after all bytecode is compiled and all files are in the system's cache."""
    print(f"\n## A cold start ({ROUNDS} rounds in turn, medians)\n")
    with TemporaryDirectory(prefix="pycalc-") as folder:
        kept = Path(folder)
        starts: dict[str, Callable[[], float]] = {
            "bare FastAPI, uvicorn": lambda: _started(bare("uvicorn")),
            "pycalc, a new database": lambda: _started(pycalc()),
            "pycalc, a database that is there": lambda: _started(pycalc(data=kept)),
        }
        imports = {f"import {module}": partial(timed, partial(_importing, module)) for module in _IMPORTED}
        measured: dict[str, Callable[[], float]] = {**imports, **starts}
        for fill in measured.values():  # the files are now in the system's cache
            fill()
        seconds: dict[str, list[float]] = {name: [] for name in ("", *measured)}
        for _ in range(ROUNDS):
            seconds[""].append(timed(partial(_importing, "")))
            for name, measure in measured.items():
                seconds[name].append(measure())
    bare_python = statistics.median(seconds.pop(""))
    print(f"Python itself takes {bare_python * 1000:.0f} ms; of the imports it is taken off.\n")
    print("| | ms | slowest |\n|---|---|---|")
    for name, each in seconds.items():
        off = bare_python if name.startswith("import") else 0
        print(f"| {name} | {(statistics.median(each) - off) * 1000:.0f} | {(max(each) - off) * 1000:.0f} |")
    theirs, _, ours = (seconds[name] for name in starts)
    ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
    print(f"\n- pycalc, a database that is there / bare FastAPI: **{ratio:.2f}** (target 1.5)")
