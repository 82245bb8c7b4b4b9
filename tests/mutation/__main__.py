"""``make mutate``: change the code in one place, and see whether a test of ``make test`` notices.

A mutant is killed when a test that runs the changed line fails, or takes far longer than it should. Survivors that
change nothing that matters stand in ``accepted.tsv`` with the reason.
"""

from __future__ import annotations

import argparse
import difflib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from coverage import CoverageData

from tests.mutation.mutants import Mutant, changed, sample

_ROOT = Path(__file__).parents[2]
_SUBJECTS = ("pycalc/services", "pycalc/cache", "pycalc/db", "pycalc/streaming", "pycalc/routers/negotiation.py")
_ACCEPTED = Path(__file__).with_name("accepted.tsv")
_MOST_SECONDS = 60.0
"""Of a mutant's tests so many seconds' worth are run, unit tests first and the cheapest files of each kind first."""
_PRELOADED = ["pytest", "hypothesis", "fastapi", "httpx", "sqlalchemy", "gmpy2", "prometheus_client", "structlog"]
"""What each run of pytest imports anyway: loaded once, then inherited by fork."""
_LEVELS = ("unit", "property", "contract", "integration", "architecture", "e2e", "deploy", "drills")

_processes = multiprocessing.get_context("forkserver")


class Coverage:
    """The map from lines to tests, and the time that each test takes."""

    def __init__(self, folder: Path) -> None:
        self._data = CoverageData(str(folder / "coverage"))
        self._data.read()
        self._seconds: Mapping[str, float] = json.loads((folder / "seconds.json").read_text())
        self._of_file: dict[str, Mapping[int, Sequence[str]]] = {}

    def tests(self, mutant: Mutant) -> tuple[list[str], float]:
        """Return the tests that run a mutant's line, the cheapest files first, and how long they take.

        A line that runs only when its module is imported concerns every test that runs any line of the file.
        """
        path = str(_ROOT / mutant.file)
        lines = self._of_file.setdefault(path, self._data.contexts_by_lineno(path))
        found = set(lines.get(mutant.line, ())) - {""} or {test for tests in lines.values() for test in tests} - {""}
        return self._cheapest(found & self._seconds.keys())

    def _cheapest(self, tests: Iterable[str]) -> tuple[list[str], float]:
        files: dict[str, list[str]] = {}
        for test in sorted(tests):
            files.setdefault(test.partition("::")[0], []).append(test)
        costs = {file: sum(self._seconds[test] for test in of_file) for file, of_file in files.items()}
        chosen: list[str] = []
        seconds = 0.0
        for file in sorted(files, key=lambda file: (_LEVELS.index(file.split("/")[1]) > 2, costs[file])):
            if chosen and seconds + costs[file] > _MOST_SECONDS:
                continue
            chosen += files[file]
            seconds += costs[file]
        return chosen, seconds


def measure(folder: Path) -> None:
    """Run what ``make test`` runs, once, and write the map from lines to tests."""
    coverage = [sys.executable, "-m", "coverage", "run", "--source=pycalc", f"--data-file={folder / 'coverage'}"]
    environment = {"COVERAGE_CORE": "ctrace", "PYCALC_MUTATION_SECONDS": str(folder / "seconds.json")}
    tests = ["-m", "pytest", "-q", "-p", "tests.mutation.contexts"]
    subprocess.run([*coverage, *tests], env={**os.environ, **environment}, cwd=_ROOT, check=False)


def _run(copy: Path, tests: Sequence[str]) -> None:
    """Run tests in a copy of the project, in a process of its own; the exit status is pytest's."""
    os.setsid()
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if path != str(_ROOT))]
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    import pytest

    os._exit(pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-seed=0", *tests]))


def survives(mutant: Mutant, copy: Path, tests: Sequence[str], seconds: float) -> bool:
    """Return whether the tests pass with the mutant in a copy of the project, which is restored afterwards."""
    source = changed(mutant)
    assert source is not None
    file = copy / mutant.file
    file.write_text(source)
    process = _processes.Process(target=_run, args=(copy, tests))
    process.start()
    try:
        process.join(20 + 3 * seconds)
        return process.exitcode == 0
    finally:
        if process.pid is not None and process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
        shutil.copy(_ROOT / mutant.file, file)


def lines_of(mutant: Mutant) -> tuple[str, str]:
    """Return the changed line, before and after."""
    before, after = (_ROOT / mutant.file).read_text().splitlines(), (changed(mutant) or "").splitlines()
    diff = [line for line in difflib.unified_diff(before, after, n=0, lineterm="") if line[:3] not in ("---", "+++")]
    removed, added = ([line[1:].strip() for line in diff if line[0] == sign] for sign in "-+")
    return " ".join(removed), " ".join(added)


@cache
def _accepted() -> set[tuple[str, str, str]]:
    """Return file, line and changed line of the survivors that are accepted."""
    rows = [line.split("\t") for line in _ACCEPTED.read_text().splitlines() if line and not line.startswith("#")]
    return {(file, before, after) for file, before, after, _ in rows}


def _judge(mutants: Sequence[Mutant], coverage: Coverage, copies: SimpleQueue[Path], jobs: int) -> list[str]:
    """Return ``killed``, ``accepted`` or ``survived`` for each mutant, and print the survivors as they are found."""

    def judge(mutant: Mutant) -> str:
        tests, seconds = coverage.tests(mutant)
        copy = copies.get()
        try:
            if tests and not survives(mutant, copy, tests, seconds):
                return "killed"
        finally:
            copies.put(copy)
        before, after = lines_of(mutant)
        if (mutant.file, before, after) in _accepted():
            return "accepted"
        print(f"{mutant.file}:{mutant.line}\t{len(tests)} tests\n  - {before}\n  + {after}", flush=True)  # noqa: T201
        return "survived"

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(judge, mutants))


def main() -> int:
    """Judge the mutants, or a sample of them; return 1 when too many survive."""
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="how many mutants, 0: all (hours)")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--only", nargs="*", default=_SUBJECTS, help="files or folders below the project's folder")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--coverage", type=Path, help="a folder to keep the map from lines to tests in")
    options = parser.parse_args()
    os.chdir(_ROOT)
    _processes.set_forkserver_preload(_PRELOADED)
    named = [file for name in options.only for file in (Path(name), *Path(name).rglob("*.py"))]
    files = [file for file in named if file.suffix == ".py" and "migrations" not in file.parts]
    mutants = sample(files, options.sample, options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.coverage or Path(scratch)
        if not (folder / "coverage").exists():
            measure(folder)
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            copy = Path(scratch) / str(number)
            shutil.copytree(_ROOT, copy, ignore=shutil.ignore_patterns(".*", "data", "dist", "build"))
            copies.put(copy)
        outcomes = _judge(mutants, Coverage(folder), copies, options.jobs)
    return _report(mutants, outcomes)


def _report(mutants: Sequence[Mutant], outcomes: Sequence[str]) -> int:
    """Print the score of each package and of all; return 1 when it is below 0.85."""
    counts: dict[str, Counter[str]] = {"all": Counter(outcomes)}
    for mutant, outcome in zip(mutants, outcomes, strict=True):
        counts.setdefault("/".join(mutant.file.split("/")[:2]), Counter())[outcome] += 1
    for name, count in counts.items():
        score = count["killed"] / max(1, count["killed"] + count["survived"])
        print(f"{name:<28} {score:.2f}  {dict(count)}")  # noqa: T201
    return int(counts["all"]["killed"] < 0.85 * (counts["all"]["killed"] + counts["all"]["survived"]))


if __name__ == "__main__":
    sys.exit(main())
