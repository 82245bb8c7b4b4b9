"""Members of a consumer group in separate processes, which tests kill and pause.

The processes run this file as their script.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


class GroupMember:
    """A member of a consumer group in its own process, which reports each received batch and commits it on command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def received(self) -> list[int]:
        """Return the numbers of the events in the next batch that is not empty."""
        return [int(number) for number in self._next("received")]

    def commit(self) -> None:
        """Make the member commit its batch, and wait until that is done."""
        assert self._process.stdin is not None
        self._process.stdin.write("commit\n")
        self._process.stdin.flush()
        assert self._next("committed") == []

    def pause(self) -> None:
        """Pause the member's process."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the paused process."""
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the member's process, so that it can't leave its group properly."""
        self._process.kill()
        self._process.wait()

    def _next(self, kind: str) -> list[int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the member ended with {self._process.wait()}"
        told: dict[str, list[int]] = json.loads(line)
        return told[kind]


@contextmanager
def group_member(url: str, group: str) -> Iterator[GroupMember]:
    """Run one member of a group in a separate process."""
    command = [sys.executable, "-m", "tests.harness.group_members", url, group]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    member = GroupMember(process)
    try:
        yield member
    finally:
        with suppress(ProcessLookupError):
            member.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


async def _work(url: str, group: str) -> None:
    from pycalc.observability.metrics import Metrics
    from pycalc.streaming import open_stream
    from tests.harness.events import number_of

    stream = await open_stream(url, Metrics())
    async with stream.consume(group) as member:
        while True:
            batch = await member.receive()
            if not batch.deliveries:
                continue
            _tell("received", [number_of(delivery.event) for delivery in batch.deliveries if delivery.event])
            await asyncio.to_thread(sys.stdin.readline)
            await member.commit(batch)
            _tell("committed", [])


def _tell(kind: str, numbers: list[int]) -> None:
    sys.stdout.write(json.dumps({kind: numbers}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    import logging

    from pycalc.observability.logging import configure_logging

    configure_logging(logging.ERROR)
    asyncio.run(_work(sys.argv[1], sys.argv[2]))
