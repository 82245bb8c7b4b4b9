"""The tests that cover a mutant, recorded once by coverage.py with a context for each test."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

from coverage import CoverageData

Lines = dict[str, dict[int, set[str]]]


class Selection:
    """The tests that reach each line, and the durations of all tests."""

    def __init__(self, root: Path, lines: Lines, seconds: dict[str, float], failed: set[str]) -> None:
        self._sources = {str(path.relative_to(root)): path.read_text() for path in root.glob("pycalc/**/*.py")}
        self._trees = {path: ast.parse(source) for path, source in self._sources.items()}
        self._tests = {str(path.relative_to(root)): path.read_text() for path in root.glob("tests/**/*.py")}
        self._lines = lines
        self._seconds = seconds
        self._failed = failed
        self.known = sorted({*seconds, *failed})

    def tests(self, path: str, line: int, most_seconds: float) -> list[str]:
        """Return tests that reach a line of code and together took at most ``most_seconds`` when they were recorded.

        Tests in files that import the line's module come first, then those that import its package; faster ones come
        before slower ones. If no test reaches the line, tests of its file or of its package are used.
        """
        ranks = self._ranks(path)
        _, in_function = _statement(self._trees[path], line)
        found = self._reaching(path, line, set()) or set().union(*self._lines[path].values())
        if not in_function:  # it runs at import
            found |= {test for test in self.known if ranks[test.partition("::")[0]] == 0}
        if not found:  # such as a migration, which Alembic loads by its path and coverage.py does not measure
            closest = min(ranks[test.partition("::")[0]] for test in self.known)
            found = {test for test in self.known if ranks[test.partition("::")[0]] == closest}
        ordered = sorted(
            found - self._failed,
            key=lambda test: (ranks[test.partition("::")[0]], self._seconds.get(test, 0.0), test),
        )
        spent = accumulate(self._seconds.get(test, 0.0) for test in ordered)
        return [test for test, seconds in zip(ordered, spent, strict=True) if seconds <= most_seconds]

    def _ranks(self, path: str) -> dict[str, int]:
        """Return how closely each test file imports a module: 0 for the module itself, 1 for its package, and so on."""
        names = [Path(path).stem, *(parent.name for parent in Path(path).parents if parent.name)]
        imports = [re.compile(rf"^(?:from|import) .*\b{re.escape(name)}\b", re.MULTILINE) for name in names]
        return {
            file: next((rank for rank, pattern in enumerate(imports) if pattern.search(text)), len(names))
            for file, text in self._tests.items()
        }

    def _reaching(self, path: str, line: int, seen: set[tuple[str, str]]) -> set[str]:
        """Return the tests that reach a line.

        For a statement that runs at import, these are the tests that reach a use of the names that it assigns. Names in
        ``seen`` are skipped.
        """
        statement, in_function = _statement(self._trees[path], line)
        if in_function:
            return set().union(*(self._lines[path][at] for at in _own_lines(statement)))
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):  # the default of a parameter
            return set().union(
                *(self._lines[path][at] for at in range(statement.lineno, (statement.end_lineno or 0) + 1))
            )
        new = {(path, name) for name in _assigned(statement)} - seen
        seen |= new
        return set().union(*(self._using(*name, seen) for name in new))

    def _using(self, path: str, name: str, seen: set[tuple[str, str]]) -> set[str]:
        """Return the tests that reach a line containing a name; a private name is searched only in its own file."""
        word = re.compile(rf"\b{re.escape(name)}\b")
        places = [path] if name.startswith("_") else [file for file, text in self._sources.items() if word.search(text)]
        found: set[str] = set()
        for file in places:
            for at, text in enumerate(self._sources[file].splitlines(), 1):
                if word.search(text):
                    found |= self._reaching(file, at, seen)
        return found


def _statement(tree: ast.Module, line: int) -> tuple[ast.stmt, bool]:
    """Return the innermost statement at a line, and whether it runs in a function call rather than at import."""
    found, in_function = tree.body[0], False
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, inside = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                start = getattr(child, "lineno", line)
                if start <= line <= getattr(child, "end_lineno", line):
                    if isinstance(child, ast.stmt):
                        found, in_function = child, inside
                    stack.append((child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)))
    return found, in_function


def names_bound(source: str, line: int) -> set[str]:
    """Return the names that the statement at a line binds; for a signature, the parameters that stand in the line."""
    statement, _ = _statement(ast.parse(source), line)
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.arg for node in ast.walk(statement.args) if isinstance(node, ast.arg) and node.lineno == line}
    return _assigned(statement)


def _own_lines(statement: ast.stmt) -> range:
    """Return the lines of a statement up to the first statement inside it."""
    inner = [child.lineno for child in ast.walk(statement) if isinstance(child, ast.stmt) and child is not statement]
    return range(statement.lineno, min([(statement.end_lineno or statement.lineno) + 1, *inner]))


def _assigned(statement: ast.stmt) -> set[str]:
    """Return the names that a statement assigns, and the name of a class that it defines."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | ({statement.name} if isinstance(statement, ast.ClassDef) else set())


def record(root: Path, folder: Path, pytest_arguments: list[str]) -> Selection:
    """Run the tests under coverage.py, unless nothing has changed since the last recording; return the selection."""
    data, times = folder / "coverage", folder / "times"
    changed = max(path.stat().st_mtime for name in ("pycalc", "tests") for path in (root / name).rglob("*.py"))
    if not data.exists() or data.stat().st_mtime < changed:
        _run_all(root, folder, pytest_arguments)
    seconds: dict[str, float] = defaultdict(float)
    failed: set[str] = set()
    for row in times.read_text().splitlines():
        test, outcome, duration, _ = json.loads(row)
        seconds[test] += duration
        if outcome == "failed":
            failed.add(test)
    return Selection(root, _lines(root, data), seconds, failed)


def _run_all(root: Path, folder: Path, pytest_arguments: list[str]) -> None:
    recording = folder.with_name("recording")
    shutil.rmtree(recording, ignore_errors=True)
    recording.mkdir(parents=True)
    environment = os.environ | {
        "COVERAGE_FILE": str(recording / "coverage"),
        "MUTATION_TIMES": str(recording / "times"),
    }
    config = [f"--rcfile={Path(__file__).with_name('coverage.ini')}"]
    run = [sys.executable, "-m", "coverage", "run", *config, "-m", "pytest", "-q", "-p", "tests.mutation.plugin"]
    subprocess.run([*run, *pytest_arguments], cwd=root, env=environment, check=False)
    subprocess.run([sys.executable, "-m", "coverage", "combine", "-q", *config], cwd=root, env=environment, check=True)
    # Deleted only now, so that an interrupted recording does not lose the last one.
    shutil.rmtree(folder, ignore_errors=True)
    recording.rename(folder)


def _lines(root: Path, data: Path) -> Lines:
    """Return the tests that reach each line; a context is a test's id, to which pytest may add the phase."""
    recorded = CoverageData(str(data))
    recorded.read()
    lines: Lines = defaultdict(lambda: defaultdict(set))
    for file in recorded.measured_files():
        path = str(Path(file).relative_to(root)) if Path(file).is_relative_to(root) else file
        for line, contexts in recorded.contexts_by_lineno(file).items():
            named = (part.partition(" (")[0] for context in contexts for part in context.split("|"))
            lines[path][line] = {test for test in named if "::" in test}
    return lines
