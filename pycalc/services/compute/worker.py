"""The computation and verification of one result, and the limits of a worker process.

This module imports little, so that workers start fast.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import time_ns
from typing import Any, NamedTuple, TypeVar

from pycalc.models.results import STORED_DIGITS, Facts
from pycalc.services.operations import CALCULATIONS
from pycalc.services.operations.base import Modular, Summarisable, View
from pycalc.services.operations.numbers.gmp import text_of
from pycalc.services.operations.numbers.texts import describe
from pycalc.services.operations.radix import DECIMAL, describe_in_base, in_base

INLINE_BYTES = 64 * 1024  # a text up to this size is returned in the reply, a longer text in a file
_EXTRA_CHARACTERS = 24  # that a stored text may have beside its digits: a sign, a point, a slash, a short exponent
_NICENESS = 10  # the service, which answers other requests meanwhile, has priority over its workers
OUT_OF_MEMORY = bytes([signal.SIGABRT])  # the content of a worker's file after the worker reached its limit of memory
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h

T = TypeVar("T")


class Task(NamedTuple):
    """A computation for a worker: an operation, its arguments, and what is wanted of the result."""

    operation: str
    args: Any
    precision: int
    view: View = "value"
    modulus: int = 0
    exact: bool = True
    method: Any = None  # the method that planning chose for a residue (``ResiduePlan``)
    base: int = DECIMAL


def execute(task: Task, file: str | None = None) -> tuple[bytes | None, Facts]:
    """Compute one result. Return its text, which is empty for a summary, and the facts about it.

    The result is verified, unless it is an exact summary, a residue of at most VERIFIED_DIGITS digits, or a result that
    is not longer than the operation's ``verified_above``.

    If ``file`` is given, the operation's partial results are written to this file. A final text over INLINE_BYTES is
    written to it too, and None is returned in its place.

    Raises VerificationFailed, and the operation's errors. Raises InvalidInput if a base other than 10 is wanted and the
    result is not an exact integer.
    """
    operation = CALCULATIONS[task.operation]
    if task.view == "summary" and task.exact and isinstance(operation, Summarisable):
        ends = operation.summary(task.args)
        return b"", Facts(None, text_of(ends.digits), True, ends.leading, ends.trailing, None)
    if task.view == "modulo" and isinstance(operation, Modular):
        text, exact = operation.result_modulo(task.args, task.modulus, task.method)
    elif file is not None and (steps := operation.steps(task.args, task.precision)) is not None:
        for text in steps:
            Path(file).write_bytes(text)
        text, exact = operation.verified(task.args, task.precision, text, exact=task.exact)
    else:
        text, exact = operation.result(task.args, task.precision, exact=task.exact)
    if task.base == DECIMAL:
        digits, leading, trailing = describe(text)
    else:
        text = in_base(text, exact, task.base)
        digits, leading, trailing = describe_in_base(text)
    if task.view == "summary":  # a rounded value has few digits, and is verified like any other
        return b"", Facts(None, str(digits), False, leading, trailing, None)
    stored = digits <= STORED_DIGITS and len(text) <= STORED_DIGITS + _EXTRA_CHARACTERS
    facts = Facts(text.decode() if stored else None, str(digits), exact, leading, trailing, sha256(text).digest())
    if file is not None and len(text) > INLINE_BYTES:
        Path(file).write_bytes(text)
        return None, facts
    return text, facts


def timed(function: Callable[..., T], *args: object) -> tuple[T, int, int, int]:
    """Call a function. Return its result, its start and end in nanoseconds since the epoch, and this process's id."""
    began_ns = time_ns()
    return function(*args), began_ns, time_ns(), os.getpid()


def be_ready() -> None:
    """Prepare a new worker: lower its priority, disable core dumps, and let the kernel kill it when the service ends.

    Workers ignore signals to the whole process group, so that a worker can finish during a shutdown. Calling this again
    in the same worker is harmless.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _address_space_at_start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an abort is expected, and its dump would be large
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def limited(seconds: float, most_bytes: int, file: str, function: Callable[..., T], *args: object) -> T:
    """Call a function under limits of processor time and of address space, and return its result.

    The kernel ends the process after ``seconds`` of processor time and at most two seconds more, which matters only if
    the service was killed: a running service kills the worker at the deadline.

    The process aborts if its address space grows by more than ``most_bytes`` since its start: GMP aborts by itself, and
    after a MemoryError this function does, because Python would keep objects in memory. At the abort, the interpreter's
    signal handler writes OUT_OF_MEMORY, the number of SIGABRT, to ``file``.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    notes = os.open(file, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGABRT, lambda _number, _frame: None)  # with any handler, the interpreter writes the number
    signal.set_wakeup_fd(notes, warn_on_full_buffer=False)
    _limit_address_space(_address_space_at_start() + most_bytes)
    try:
        return function(*args)
    except MemoryError:
        os.abort()
    finally:
        _limit_address_space(resource.RLIM_INFINITY)
        signal.set_wakeup_fd(-1)
        os.close(notes)


def _limit_address_space(size: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size if most == resource.RLIM_INFINITY else min(size, most), most))


@cache
def _address_space_at_start() -> int:
    """Return the size in bytes that this process's address space had at the first call."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
