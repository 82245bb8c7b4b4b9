"""Helpers that inspect and pause worker processes from outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def cpu_seconds(pid: int) -> float:
    """Return the processor time in seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def workers_cpu_seconds(pid: int) -> float:
    """Return the processor time in seconds that all children of a process have used, including ended ones."""
    while True:
        ended = _ended_seconds(pid)
        try:
            running = sum(map(cpu_seconds, children(pid)))
        except (FileNotFoundError, ProcessLookupError):
            continue  # a child has just ended, and ``ended`` does not have its time yet
        if _ended_seconds(pid) == ended:
            return ended + running


def _ended_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Suspend a process with SIGSTOP during the ``with`` block, and continue it afterwards."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
