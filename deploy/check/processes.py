"""Run the tools of the checks, and report their outcomes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

# The folder for files that are downloaded once.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pycalc"
# A tool that runs longer than this many seconds has failed.
_SECONDS = 600.0
# The longest line that is printed, in characters; generated requests can be far longer.
_WIDTH = 400

# The niceness of the groups that give way to the first one.
_NICE = 10

_OWN = Path(sys.executable).parent
_WHERE = {
    "go": "apt-get install golang-go",
    "java": "apt-get install default-jre-headless",
    "mvn": "apt-get install maven",
    "npm": "apt-get install npm",
    "promtool": "apt-get install prometheus",
    "shellcheck": "apt-get install shellcheck",
    "terraform": "go install github.com/hashicorp/terraform@v1.11.4",
}


class Missing(Exception):
    """A required tool is not installed."""


def run(tool: str, *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return a tool's output; raises Missing, ValueError with the output if the tool fails, or TimeoutExpired."""
    program = _OWN / tool if (_OWN / tool).exists() else shutil.which(tool)
    if program is None:
        raise Missing(f"{tool} is not installed: {_WHERE.get(tool, 'run the check by `make`, which installs it')}")
    done = subprocess.run(  # noqa: S603  # our own tools on our own files
        [str(program), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise ValueError(f"{done.stdout}{done.stderr}".strip())
    return done.stdout.strip()


def lines(*command: str) -> str:
    """Return a tool's output, joined to one line."""
    return "; ".join(line.strip() for line in run(*command).splitlines() if line.strip()) or "nothing found"


def report(*groups: Mapping[str, Callable[[], str]]) -> int:
    """Run every check; print its outcome and its time; return 1 when one fails, else 0.

    The groups run at the same time, and the checks of a group one after the other. The first group has priority for the
    processor. A check whose tool is not installed is skipped, except in CI, where it fails.
    """
    with ThreadPoolExecutor(len(groups)) as threads:
        return max(threads.map(_report_group, groups, [0, *[_NICE] * (len(groups) - 1)]))


def _report_group(checks: Mapping[str, Callable[[], str]], nice: int) -> int:
    os.nice(nice)  # on Linux, this affects only the calling thread and the programs that it starts
    failed = 0
    for name, check in checks.items():
        started = perf_counter()
        state, told = _outcome(check)
        failed |= state == "FAILED"
        line = f"{state:8} {name:34} {perf_counter() - started:5.1f} s  {told}\n"
        print(line, end="", flush=True)  # noqa: T201  # one write, so that two groups do not mix their lines
    return failed


def _outcome(check: Callable[[], str]) -> tuple[str, str]:
    try:
        return "ok", check()
    except Missing as error:
        return "FAILED" if os.environ.get("CI") else "skipped", str(error)
    except (LookupError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        return "FAILED", "\n".join(line[:_WIDTH] for line in str(error).splitlines())
