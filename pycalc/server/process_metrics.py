"""The metrics of several server processes as those of one service, added up by their supervisor (ADR 21).

Whichever process is asked for the service's metrics asks the supervisor, which asks all of them. A process that has
gone is remembered as it was when it last told, so no sum ever falls while the service runs: a counter that falls looks
to Prometheus as if all of it had been counted anew.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from pycalc.errors import Unavailable
from pycalc.observability.metrics import Metrics
from pycalc.observability.recent import Recent
from pycalc.server.supervisor_channel import SupervisorChannel
from pycalc.server.totals import Totals

_PROCESS_SECONDS = 1.0
"""Within which a process must tell its own: one that is busy or starting counts as it was."""


class _Member:
    """A process, and what it told last."""

    def __init__(self, channel: SupervisorChannel) -> None:
        self.channel = channel
        self.latest = b""

    async def refresh(self) -> None:
        """Ask the process; one that does not answer counts as it was."""
        with suppress(Unavailable):
            self.latest = await self.channel.request(_PROCESS_SECONDS) or self.latest


class ProcessMetrics:
    """The processes of a service, as their supervisor knows them."""

    def __init__(self, own: Metrics, seconds: float = 1.0) -> None:
        """``seconds``: how old the sums may be."""
        self._own = own
        self.total = Recent(self._total, seconds).get
        """Returns the sums over all processes, the supervisor's own and those that have gone included."""
        self._members: dict[int, _Member] = {}
        self._gone = Totals()

    async def add(self, number: int, end: socket.socket) -> None:
        """Take in a process, at whose other end of the socket a SupervisorChannel begins."""
        channel = await SupervisorChannel.open(end, gone=lambda: None)  # who runs the process sees it end
        channel.respond = self.total
        self._members[number] = _Member(channel)

    async def remove(self, number: int) -> None:
        """Let go of a process that has ended, and keep what it had counted."""
        member = self._members.pop(number)
        self._gone.add(member.latest, ended=True)
        self._own.server_processes_lost.inc()
        await member.channel.aclose()

    async def _total(self) -> bytes:
        await asyncio.gather(*(member.refresh() for member in self._members.values()))
        totals = self._gone.copy()
        totals.add(self._own.render())
        for member in self._members.values():
            totals.add(member.latest)
        return totals.render()
