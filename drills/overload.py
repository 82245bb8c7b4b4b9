"""A drill at three times the capacity: nearly as many requests are accepted as at capacity, and refusals are immediate.

The capacity is the throughput of clients that send the next request as soon as they are answered. Then many clients,
which pause after each answer, send three times as many requests. Their pauses are long, so slow answers hardly reduce
the number of requests. A few clients in this process measure the latencies, because the load generator itself is too
busy to measure them exactly.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from drills.support.connection import Answer, Connection, request
from drills.support.finding import Finding, faults
from tests.harness.servers import Server, log_in, pycalc

_CONNECTIONS = 64
_CROWD = 4_000
_WARM_UP = 1.0
_PROBES, _PROBE_PAUSE = 16, 0.02
_TIMES = 3.0
# The factor by which pauses are shortened, because answers take time too.
_HASTE = 0.8
# The share of the intended load that must really be sent.
_SENT = 0.9
_GOODPUT = 0.9
_REFUSED_MS = 10.0
_IN_TIME = 2.0
_SCRIPT = """
local sent, counts = 0, {}
function request()
  sent = sent + 1
  return wrk.format("GET", string.format(os.getenv("DRILL_PATH"), os.getenv("DRILL_OPERAND") + 2 * sent))
end
if os.getenv("DRILL_PAUSE_MS") ~= "0" then
  function delay() return 2 * math.random() * os.getenv("DRILL_PAUSE_MS") end
end
function response(status)
  if status == 200 then accepted = (accepted or 0) + 1
  elseif status == 503 then refused = (refused or 0) + 1
  else others = (others or 0) + 1 end
end
function setup(thread) the_thread = thread end
function done(summary)
  local errors = summary.errors
  local function count_of(name) return the_thread:get(name) or 0 end
  print("SEEN", summary.duration / 1e6, count_of("accepted"), count_of("refused"), count_of("others"),
        errors.connect + errors.read + errors.write + errors.timeout)
end
"""

# Paths whose first operand is new in each request, so that no cache holds the result. "inline": 7,000 to 10,000 digits,
# computed on the event loop. "workers": 120,000 to 170,000 digits, computed by worker processes. "small": a trivial
# calculation.
WORK = {"inline": "/pow/%d/1200", "workers": "/pow/%d/20000", "small": "/pow/%d/1"}


@dataclass(frozen=True, slots=True)
class Seen:
    """The number of a crowd's requests by outcome, and the seconds in which they were sent."""

    seconds: float
    accepted: float
    refused: float
    others: float
    unanswered: float

    @property
    def rate(self) -> float:
        """Return the accepted requests per second."""
        return self.accepted / self.seconds

    @property
    def answered(self) -> float:
        """Return the requests per second that were answered, with whatever status."""
        return (self.accepted + self.refused + self.others) / self.seconds


@dataclass(frozen=True, slots=True)
class Crowd:
    """A crowd of clients, run by the load generator wrk."""

    server: Server
    path: str
    token: str
    script: Path

    def begin(self, connections: int, seconds: float, operand: int, pause: float = 0.0) -> subprocess.Popen[str]:
        """Start ``connections`` clients, each pausing ``pause`` seconds on average before a request.

        Each request has a new operand above ``operand``. The clients run at low priority, because real clients would
        run on other machines.
        """
        self.script.write_text(_SCRIPT)
        return subprocess.Popen(
            [
                *("nice", "wrk", "--threads", "1", "--connections", f"{connections}", "--duration", f"{seconds:.0f}"),
                *("--timeout", "10", "--header", f"Authorization: Bearer {self.token}"),
                *("--script", str(self.script), self.server.url),
            ],
            env={
                **os.environ,
                "DRILL_PATH": self.path,
                "DRILL_OPERAND": str(operand),
                "DRILL_PAUSE_MS": f"{pause * 1000:.0f}",
            },
            stdout=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def end(crowd: subprocess.Popen[str]) -> Seen:
        """Wait until a crowd has finished, and return the counts of its answers."""
        output, _ = crowd.communicate()
        seen = next(line.split()[1:] for line in output.splitlines() if line.startswith("SEEN"))
        return Seen(*map(float, seen))


@dataclass(slots=True)
class Timed:
    """The latencies of accepted and refused requests, in seconds, and the statuses of all other answers."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def note(self, answer: Answer) -> None:
        """Note the latency of a 200 or of a 503 with Retry-After, or the status of any other answer."""
        if answer.status == 200:
            self.accepted.append(answer.seconds)
        elif answer.status == 503 and answer.field("retry-after"):
            self.refused.append(answer.seconds)
        else:
            self.others.append(answer.status)


async def _probed(crowd: Crowd, operand: int, seconds: float) -> Timed:
    """Send requests with pauses on a few connections; return the latencies and statuses of the answers.

    Each request has a new operand above ``operand``.
    """
    timed, end = Timed(), monotonic() + seconds

    async def client(number: int) -> None:
        connection, fresh = await Connection.open(crowd.server.port), operand + number
        while monotonic() < end:
            fresh += _PROBES
            sent = request(crowd.path % fresh, {"Authorization": f"Bearer {crowd.token}"})
            timed.note(await connection.ask(sent))
            await asyncio.sleep(_PROBE_PAUSE)
        connection.close()

    await asyncio.gather(*map(client, range(_PROBES)))
    return timed


def overload(work: str = "inline", seconds: float = 10.0) -> Finding:
    """Measure the capacity, then send three times as many requests per second and judge the answers.

    ``work``, a key of WORK, is the kind of the requests.
    """
    with pycalc() as server, TemporaryDirectory(prefix="drill-") as folder:
        crowd = Crowd(server, WORK[work], log_in(server), Path(folder) / "crowd.lua")
        Crowd.end(crowd.begin(_CONNECTIONS, _WARM_UP, 1_000_001))
        peak = Crowd.end(crowd.begin(_CONNECTIONS, seconds, 2_000_001))
        offered = _TIMES * peak.rate
        clients = min(_CROWD, round(offered))
        pause = _HASTE * clients / offered
        offering = crowd.begin(clients, _WARM_UP + seconds, 100_000_001, pause)
        sleep(_WARM_UP)
        probe = asyncio.run(_probed(crowd, 10_000_001, seconds - 1))
        seen = Crowd.end(offering)
    goodput = seen.rate / peak.rate
    return Finding(
        f"overload, {work}",
        f"{_TIMES:g} times the capacity offered for {seconds:g} s",
        {
            "capacity/s": peak.rate,
            "answered/s": seen.answered,
            "accepted/s": seen.rate,
            "goodput": goodput,
            "refused": seen.refused,
            "a refusal's p50 ms": _percentile(probe.refused, 50),
            "p99 ms": _percentile(probe.refused, 99),
            "accepted ones' p50 ms": _percentile(probe.accepted, 50),
            "accepted ones' p99 ms": _percentile(probe.accepted, 99),
        },
        faults(
            too_few_answered=seen.answered < _SENT * offered,
            too_little_goodput=goodput < _GOODPUT,
            nothing_refused=not seen.refused,
            slow_refusals=_percentile(probe.refused, 99) > _REFUSED_MS,
            no_refusal_timed=len(probe.refused) < 2,
            late_answers=sum(latency > _IN_TIME for latency in probe.accepted),
            unanswered=seen.unanswered,
            other_statuses=seen.others + len(probe.others),
        ),
    )


def _percentile(latencies: list[float], percent: int) -> float:
    """Return a percentile, in milliseconds, of latencies in seconds; 0 if there are fewer than two."""
    return statistics.quantiles(latencies, n=100)[percent - 1] * 1000 if len(latencies) > 1 else 0.0


def missing() -> str | None:
    """Return a message if wrk, which this drill needs, is not installed; otherwise None."""
    return None if shutil.which("wrk") else "wrk is not installed"
