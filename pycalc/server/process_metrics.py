"""Metrics of several server processes, added up by their supervisor as those of one service (ADR 21).

A server process that is asked for metrics requests them from the supervisor, which requests them from all processes.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass

from pycalc.errors import Unavailable
from pycalc.observability.metrics import Metrics
from pycalc.observability.recent import Recent
from pycalc.server.supervisor_channel import SupervisorChannel
from pycalc.server.totals import Totals

_PROCESS_SECONDS = 1.0


@dataclass(slots=True)
class _Process:
    """A server process, and its latest exposition."""

    channel: SupervisorChannel
    latest: bytes = b""

    async def refresh(self) -> None:
        """Request a new exposition; keep the latest when the process is busy or still starts."""
        with suppress(Unavailable):
            self.latest = await self.channel.request(_PROCESS_SECONDS) or self.latest


class ProcessMetrics:
    """The sums of the metrics of all server processes, including those that have ended.

    A sum never falls while the service runs, because Prometheus takes a counter that falls for one that was reset.
    """

    def __init__(self, own: Metrics, seconds: float = 1.0) -> None:
        """``own`` are the supervisor's metrics, and ``seconds`` is the greatest age of the sums."""
        self._own = own
        self.total = Recent(self._total, seconds).get  # returns the sums as an exposition
        self._processes: dict[int, _Process] = {}
        self._ended = Totals()

    async def add(self, number: int, end: socket.socket) -> None:
        """Add a process that holds the other end of this socket."""
        channel = await SupervisorChannel.open(end, gone=lambda: None)  # the supervisor waits for the process itself
        channel.respond = self.total
        self._processes[number] = _Process(channel)

    async def remove(self, number: int) -> None:
        """Remove a process that has ended, and keep its counts."""
        process = self._processes.pop(number)
        self._ended.add(process.latest, ended=True)
        self._own.server_processes_lost.inc()
        await process.channel.aclose()

    async def _total(self) -> bytes:
        await asyncio.gather(*(process.refresh() for process in self._processes.values()))
        totals = self._ended.copy()
        totals.add(self._own.render())
        for process in self._processes.values():
            totals.add(process.latest)
        return totals.render()
