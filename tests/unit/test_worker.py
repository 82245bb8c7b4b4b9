"""Worker processes: long results are verified, and large ones are passed on in files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pycalc.errors import VerificationFailed
from pycalc.models.results import Facts
from pycalc.services.compute import worker
from pycalc.services.compute.worker import Task, execute, timed
from pycalc.services.operations import OPERATIONS

POWER = OPERATIONS["pow"]


def power_of_ten(digits: int, **changes: Any) -> Task:
    """Return the task to compute a power of ten with this many digits; ``changes`` replace fields of the task."""
    return Task("pow", POWER.parse({"x": "10", "y": str(digits - 1)}), 50)._replace(**changes)


@pytest.mark.parametrize(("digits", "refused"), [(1_000, False), (1_001, True)])
def test_from_1001_digits_on_a_result_is_verified(monkeypatch: pytest.MonkeyPatch, digits: int, refused: bool) -> None:
    """A result of 1,001 digits that fails its verification raises an error; one of 1,000 digits is not verified."""
    monkeypatch.setattr(type(POWER), "verify", lambda *_: False)
    if refused:
        with pytest.raises(VerificationFailed):
            execute(power_of_ten(digits))
    else:
        assert execute(power_of_ten(digits))[1].digits == "1000"


@pytest.mark.parametrize(("digits", "refused"), [(1_000, False), (1_001, True)])
def test_from_1001_digits_on_a_residue_is_verified(monkeypatch: pytest.MonkeyPatch, digits: int, refused: bool) -> None:
    """A residue of 1,001 digits that fails its verification raises an error; one of 1,000 digits is not verified.

    The error's message is short, although the modulus is long.
    """
    monkeypatch.setattr(type(POWER), "has_residue", lambda *_: False)
    task = power_of_ten(digits, view="modulo", modulus=10 ** (digits + 5))
    if refused:
        with pytest.raises(VerificationFailed) as caught:
            execute(task)
        assert len(str(caught.value)) < 500
    else:
        assert execute(task)[0] == b"1" + b"0" * 999


@pytest.mark.parametrize(("digits", "in_file"), [(65_536, False), (65_537, True)])
def test_a_text_over_64_kib_goes_into_the_file(tmp_path: Path, digits: int, in_file: bool) -> None:
    """A result's text above 64 KiB is written to the given file; a shorter text is in the reply.

    Without a file, every text is in the reply.
    """
    file = tmp_path / "result"
    text = b"1" + b"0" * (digits - 1)
    facts = Facts(None, str(digits), True, "1" + "0" * 19, "0" * 20, sha256(text).digest())
    assert execute(power_of_ten(digits), str(file)) == (None if in_file else text, facts)
    assert file.exists() == in_file
    assert not in_file or file.read_bytes() == text
    assert execute(power_of_ten(digits)) == (text, facts)


@pytest.mark.parametrize(("digits", "stored"), [(1, True), (999, True), (1_000, True), (1_001, False)])
@pytest.mark.parametrize("sign", ["", "-"])
def test_up_to_1000_digits_the_history_stores_the_result(digits: int, stored: bool, sign: str) -> None:
    """A result of at most 1,000 digits comes with its text for the history. The sign does not count as a digit."""
    text = sign + "7" + "0" * (digits - 1)
    args = POWER.parse({"x": f"{sign}7e{digits - 1}", "y": "1"})
    assert execute(Task("pow", args, 50))[1].stored == (text if stored else None)


def test_the_steps_of_a_factorization_are_written_to_the_file(tmp_path: Path) -> None:
    """If a file is given, a factorization writes its partial results to it; the last is verified and returned.

    2^64 + 1 = 274177 * 67280421310721 (Landry, 1880).
    """
    file, factorize = tmp_path / "result", OPERATIONS["factorize"]
    task = Task("factorize", factorize.parse({"n": str(2**64 + 1)}), 50)
    text = b'[{"prime":274177,"exponent":1},{"prime":67280421310721,"exponent":1}]'
    assert execute(task, str(file))[0] == text
    assert file.read_bytes() == text


def test_the_last_step_of_a_factorization_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A factorization whose last step is wrong raises VerificationFailed."""
    factorize = OPERATIONS["factorize"]
    monkeypatch.setattr(type(factorize), "steps", lambda *_: iter([b"[]", b'[{"prime":2,"exponent":1}]']))
    with pytest.raises(VerificationFailed):
        execute(Task("factorize", factorize.parse({"n": "6"}), 50), str(tmp_path / "result"))


def test_a_rounded_summary_says_so() -> None:
    """The summary of sqrt(2) is marked as rounded, that of a power of ten as exact."""
    root = Task("pow", POWER.parse({"x": "2", "y": "0.5"}), 5, "summary", exact=False)
    assert execute(root) == (b"", Facts(None, "5", False, "14142", "14142", None))
    assert execute(power_of_ten(2, view="summary")) == (b"", Facts(None, "2", True, "10", "10", None))


def test_work_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """``timed`` returns a function's result with the times at which the call began and ended."""
    times = iter([100, 200])
    monkeypatch.setattr(worker, "time_ns", lambda: next(times))
    assert timed(abs, -3)[:3] == (3, 100, 200)


LIMITED = """
import resource
from pathlib import Path
from pycalc.services.compute.worker import be_ready, limited

status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
be_ready()
limit = limited(10, 64 << 20, "/dev/null", lambda: resource.getrlimit(resource.RLIMIT_AS)[0])
print(limit - int(status["VmSize"].split()[0]) * 1024)
"""


def test_a_computation_gets_its_memory_beside_that_of_the_worker() -> None:
    """A worker's address space is limited to its size at the start plus the memory that the plan allows."""
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    assert 62 << 20 < int(done.stdout) < 66 << 20


READY = """
import json, os, resource, signal
from types import SimpleNamespace
from pycalc.services.compute.worker import be_ready, limited

os.nice(3)
be_ready()
ignored = [signal.getsignal(number) == signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]
hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
resource.setrlimit(resource.RLIMIT_CPU, (1000, hard))
resource.getrusage = lambda _: SimpleNamespace(ru_utime=100.5, ru_stime=7.25)
soft, kept = limited(20, 64 << 20, "/dev/null", lambda: resource.getrlimit(resource.RLIMIT_CPU))
core = resource.getrlimit(resource.RLIMIT_CORE)
print(json.dumps([ignored, core, os.getpriority(os.PRIO_PROCESS, 0), soft, kept == hard]))
"""


def test_a_worker_is_ready() -> None:
    """A worker ignores signals to the whole process group, dumps no core, and has a niceness of 10 or more.

    The process's limit of processor time is the time used so far plus that of the task, rounded up, plus 1 s. Here
    107.75 s are used and the task has 20 s, which makes 129 s.
    """
    done = subprocess.run([sys.executable, "-c", READY], capture_output=True, text=True, check=True)
    niceness = max(10, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    assert json.loads(done.stdout) == [[True, True], [0, 0], niceness, 129, True]
