"""``make mutate``: change the code in one place at a time, and list the changes that no test notices."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.mutants import Mutant, sample
from tests.mutation.selection import Selection, names_bound, record

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "mutation"
PACKAGES = [
    "pycalc/backoff.py",
    "pycalc/models/limits.py",
    "pycalc/services",
    "pycalc/cache",
    "pycalc/db",
    "pycalc/streaming",
    "pycalc/routers/http/negotiation.py",
]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "data", ".mypy_cache", ".ruff_cache", ".hypothesis"
)

# The longest time for one mutant's tests; they took at most ``--seconds`` when they were recorded.
_LIMIT_SECONDS = 900.0
_OPTIONS = [
    *("-x", "-q", "-p", "tests.mutation.plugin", "-p", "no:cacheprovider"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
]


class Copy:
    """A copy of the project in which mutants are tested one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = folder / "project"
        shutil.copytree(ROOT, self._root, ignore=_LEFT_OUT)

    def survives(self, mutant: Mutant, tests: list[str], known: list[str]) -> bool:
        """Return whether all chosen tests pass with the mutant in place.

        ``known`` has the ids of all tests of the unchanged project. A test is also run if the mutant gives it a new id.
        """
        (self._folder / "chosen").write_text(json.dumps({"chosen": tests, "known": known}))
        file = self._root / mutant.path
        original, status = file.read_text(), file.stat()
        file.write_text(mutant.source)
        try:
            return self._pytest(sorted({test.partition("::")[0] for test in tests})) == 0
        finally:
            file.write_text(original)
            os.utime(file, (status.st_atime, status.st_mtime))

    def check(self, mutant: Mutant, tests: list[str]) -> None:
        """Exit if the tests fail without a mutant, because then every mutant would count as killed."""
        unchanged = dataclasses.replace(mutant, source=(self._root / mutant.path).read_text())
        if not self.survives(unchanged, tests, tests):
            raise SystemExit(f"tests fail without a mutant:\n{(self._folder / 'output').read_text()}")

    def _pytest(self, files: list[str]) -> int | None:
        """Run the chosen tests in these files; return pytest's exit status, or None if they did not end in time."""
        environment = os.environ | {
            "PYTHONPATH": str(self._root),  # comes before the installed package, in every process that a test starts
            "PYTHONDONTWRITEBYTECODE": "1",  # within one second, a mutant's bytecode would be taken for the original's
            "MUTATION_CHOSEN": str(self._folder / "chosen"),
        }
        command = [sys.executable, "-m", "pytest", *_OPTIONS, *files]
        with (self._folder / "output").open("wb") as output:
            running = subprocess.Popen(
                command, cwd=self._root, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            return running.wait(_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # a killed test run leaves its servers running
            running.wait()


class Accepted:
    """The surviving mutants that accepted.toml lists, because no test needs to kill them."""

    def __init__(self) -> None:
        listed = tomllib.loads(Path(__file__).with_name("accepted.toml").read_text())
        self._lines = {(entry["file"], line) for entry in listed["survivor"] for line in entry["lines"]}
        self._constants = {(entry["file"], name) for entry in listed["tuning"] for name in entry["constants"]}

    def __contains__(self, mutant: Mutant) -> bool:
        if (mutant.path, mutant.after) in self._lines:
            return True
        return any((mutant.path, name) in self._constants for name in names_bound(mutant.source, mutant.line))

    def outdated(self, files: set[str]) -> Iterator[str]:
        """Yield the entries for these files, and for deleted files, that match no mutant any more."""
        for file in {file for file, _ in self._lines | self._constants}:
            gone = not (ROOT / file).exists()
            if not gone and file not in files:
                continue
            mutants = [] if gone else list(sample(ROOT, [file], None, seed=1))
            lines = {mutant.after for mutant in mutants}
            names = {name for mutant in mutants for name in names_bound(mutant.source, mutant.line)}
            for known, matched in ((self._lines, lines), (self._constants, names)):
                yield from (f"{file}: {text}" for path, text in known if path == file and text not in matched)


def judge(
    mutants: list[Mutant], selection: Selection, jobs: int, seconds: float, told: Callable[[Mutant, bool], None]
) -> None:
    """Test mutants in ``jobs`` copies of the project at once; call ``told`` for each, with True if it has survived."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch, ThreadPoolExecutor(jobs) as threads:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(copy := Copy(Path(scratch, str(number))))
            copy.check(mutants[0], selection.tests(mutants[0].path, mutants[0].line, seconds))

        def test(mutant: Mutant) -> None:
            copy = copies.get()
            try:
                tests = selection.tests(mutant.path, mutant.line, seconds)
                told(mutant, not tests or copy.survives(mutant, tests, selection.known))
            finally:
                copies.put(copy)

        list(threads.map(test, mutants))


def main() -> None:
    """Parse the arguments, test the mutants, and print each verdict and the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="folders or files to change, instead of the default ones")
    parser.add_argument("--sample", type=int, help="number of random mutants of each folder, instead of all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="run so many seconds' worth of each mutant's tests")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--tests", nargs="*", default=[], help="arguments for pytest while it records which tests reach which lines"
    )
    options = parser.parse_args()
    mutants = list(sample(ROOT, options.only or PACKAGES, options.sample, options.seed))
    selection = record(ROOT, FOLDER, [f"-n{options.jobs}", *options.tests])
    accepted, scores, start = Accepted(), Counter[tuple[str, str]](), time.monotonic()

    def told(mutant: Mutant, survived: bool) -> None:
        verdict = ("accepted" if mutant in accepted else "SURVIVED") if survived else "killed"
        scores[mutant.package, verdict] += 1
        print(f"{sum(scores.values())}/{len(mutants)} {verdict:8} {mutant}", flush=True)

    judge(mutants, selection, options.jobs, options.seconds, told)
    print(f"\n{len(mutants)} mutants in {time.monotonic() - start:.0f} s, seed {options.seed}")
    for package in sorted({package for package, _ in scores}):
        killed, survived, known = (scores[package, verdict] for verdict in ("killed", "SURVIVED", "accepted"))
        score = killed / max(killed + survived, 1)
        print(f"{package}: {killed} killed, {survived} survived, {known} accepted: {score:.2f}")
    for entry in sorted(accepted.outdated({mutant.path for mutant in mutants})):
        print(f"accepted.toml has an entry that no mutant matches: remove or renew it: {entry}")


if __name__ == "__main__":
    main()
