"""Three times the capacity: what is accepted is answered as before, what is refused is refused at once.

The capacity is the peak of a closed loop: clients that ask again when they are answered. Three times as much is offered
by an open one, a process of its own: requests leave at their times, whatever became of the others. How soon a refusal
comes is seen by a few clients in another process, since the crowd's own clock stands while it is busy.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import statistics
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from time import monotonic, perf_counter

import uvloop

from drills.connection import Answer, Connection, request
from drills.finding import Finding, faults
from tests.services.servers import log_in, pycalc

_CONNECTIONS = 64
_MOST_CONNECTIONS = 2_000
_TICK = 0.001
_PROBES, _PROBE_PAUSE = 16, 0.02
_TIMES = 3.0
_GOODPUT = 0.9
_REFUSED_MS = 10.0
_IN_TIME = 2.0


@dataclass(slots=True)
class Seen:
    """The answers of one phase."""

    seconds: float = 0.0
    offered: int = 0
    unsent: int = 0
    """Requests whose time came while no connection was free."""
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def note(self, answer: Answer) -> None:
        """Sort an answer by its status."""
        if answer.status == 200:
            self.accepted.append(answer.seconds)
        elif answer.status == 503 and answer.field("retry-after"):
            self.refused.append(answer.seconds)
        else:
            self.others.append(answer.status)

    @property
    def rate(self) -> float:
        """Accepted requests a second."""
        return len(self.accepted) / self.seconds


@dataclass(slots=True)
class Requests:
    """Requests that no cache can answer: each has an operand of its own."""

    path: str
    token: str
    operand: int = 1_000_001

    def next(self) -> bytes:
        """Return the next request."""
        self.operand += 2
        return request(self.path.format(self.operand), {"Authorization": f"Bearer {self.token}"})


async def closed(port: int, requests: Requests, seconds: float, connections: int = _CONNECTIONS) -> Seen:
    """Ask from so many connections, one request after the other."""
    seen, end = Seen(seconds), monotonic() + seconds

    async def client() -> None:
        connection = await Connection.open(port)
        while monotonic() < end:
            seen.note(await connection.ask(requests.next()))
        connection.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return seen


async def offered(port: int, requests: Requests, rate: float, seconds: float) -> Seen:
    """Send requests at a rate, on as many connections as that takes."""
    seen = Seen(seconds)
    free = [await Connection.open(port) for _ in range(_MOST_CONNECTIONS)]
    asking = set[asyncio.Task[None]]()

    async def ask(connection: Connection) -> None:
        if not connection.usable:  # the server closes what is idle for ten seconds
            connection = await Connection.open(port)
        answer = await connection.ask(requests.next())
        if perf_counter() - began < seconds:
            seen.note(answer)
        free.append(connection)

    began = perf_counter()
    while (elapsed := perf_counter() - began) < seconds:
        due = int(elapsed * rate) - seen.offered
        seen.offered += due
        seen.unsent += max(0, due - len(free))
        for _ in range(min(due, len(free))):
            task = asyncio.create_task(ask(free.pop()))
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.sleep(_TICK)
    if asking:
        await asyncio.wait(set(asking), timeout=10)
    for connection in free:
        connection.close()
    return seen


async def probed(port: int, requests: Requests, seconds: float) -> Seen:
    """Ask on a few connections with pauses: what one client among many sees, undisturbed by the others' machine."""
    seen, end = Seen(seconds), monotonic() + seconds

    async def client() -> None:
        connection = await Connection.open(port)
        while monotonic() < end:
            seen.note(await connection.ask(requests.next()))
            await asyncio.sleep(_PROBE_PAUSE)
        connection.close()

    await asyncio.gather(*(client() for _ in range(_PROBES)))
    return seen


def _p99_ms(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98] * 1000 if len(latencies) > 1 else 0.0


WORK = {"inline": "/pow/{}/1200", "workers": "/pow/{}/20000", "small": "/pow/{}/1"}
"""What is asked for: 7,201 digits, computed on the event loop; 120,001, computed by workers; as little as there is.

The clients share the machine with the service: for the last kind they are as busy as it is, and the capacity is what
is left.
"""


def overload(work: str = "inline", seconds: float = 10.0) -> Finding:
    """Measure the capacity for one kind of request, then offer three times as much."""
    with pycalc() as server:
        path, token = WORK[work], log_in(server)
        peak: Seen = uvloop.run(_peak(server.port, Requests(path, token), seconds))
        context = multiprocessing.get_context("spawn")
        report, remote = context.Pipe(duplex=False)
        arguments = (server.port, Requests(path, token, 3_000_001), _TIMES * peak.rate, seconds, remote)
        crowd = context.Process(target=_crowd, args=arguments)
        crowd.start()
        report.recv()
        probe: Seen = uvloop.run(probed(server.port, Requests(path, token, 5_000_001), seconds - 1))
        seen: Seen = report.recv()
        crowd.join()
    goodput = seen.rate / peak.rate
    return Finding(
        f"overload, {work}",
        f"{_TIMES:g} times the capacity offered for {seconds:g} s",
        {
            "capacity/s": peak.rate,
            "p99 then ms": _p99_ms(peak.accepted),
            "offered/s": seen.offered / seconds,
            "accepted/s": seen.rate,
            "goodput": goodput,
            "refused": len(seen.refused),
            "a refusal's p50 ms": statistics.median(probe.refused or [0]) * 1000,
            "p99 ms": _p99_ms(probe.refused),
            "accepted ones' p99 ms": _p99_ms(seen.accepted),
            "no free connection": seen.unsent,
        },
        faults(
            too_little_goodput=goodput < _GOODPUT,
            nothing_refused=not seen.refused,
            slow_refusals=_p99_ms(probe.refused) > _REFUSED_MS,
            no_refusal_timed=len(probe.refused) < 2,
            late_answers=sum(latency > _IN_TIME for latency in seen.accepted),
            other_statuses=str(sorted({*seen.others, *probe.others}) or ""),
        ),
    )


def _crowd(port: int, requests: Requests, rate: float, seconds: float, report: Pipe) -> None:
    """Be the process that offers too much."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    report.send("ready")
    report.send(uvloop.run(offered(port, requests, rate, seconds)))


async def _peak(port: int, requests: Requests, seconds: float) -> Seen:
    await closed(port, requests, 1)
    return await closed(port, requests, seconds)
