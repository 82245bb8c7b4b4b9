"""The metrics of several server processes, combined as if they were one process."""

from __future__ import annotations

import asyncio
import socket
from copy import deepcopy

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pycalc.errors import Unavailable
from pycalc.observability.metrics import Metrics
from pycalc.server.process_metrics import ProcessMetrics, Totals
from pycalc.server.supervisor_channel import SupervisorChannel

ONE = b"""# HELP calls_total Calls
# TYPE calls_total counter
calls_total{kind="a"} 3.0
# TYPE calls_created gauge
calls_created{kind="a"} 1000.0
# HELP waiting Waiting
# TYPE waiting gauge
waiting 2.0
# TYPE pycalc_outbox_backlog gauge
pycalc_outbox_backlog 40.0
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000.0
# TYPE lag_seconds histogram
lag_seconds_bucket{le="1.0"} 1.0
lag_seconds_bucket{le="+Inf"} 2.0
lag_seconds_count 2.0
lag_seconds_sum 9.5
"""
OTHER = (
    ONE.replace(b'calls_total{kind="a"} 3.0', b'calls_total{kind="a"} 4.0\ncalls_total{kind="b"} 1.0')
    .replace(b"backlog 40.0", b"backlog 7.0")
    .replace(b" 1000.0", b" 1200.0")
)


def samples(exposition: bytes) -> dict[str, float]:
    """Return the values in a metrics text; a key is a sample's name followed by the values of its labels."""
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def test_what_adds_up_is_added() -> None:
    """Counters, histograms and most gauges are summed. The longest backlog and the earliest start time are reported."""
    totals = Totals()
    totals.add(ONE)
    totals.add(OTHER)
    assert samples(totals.render()) == {
        "calls_totala": 7.0,
        "calls_totalb": 1.0,
        "calls_createda": 1000.0,
        "waiting": 4.0,
        "pycalc_outbox_backlog": 40.0,
        "process_start_time_seconds": 1000.0,
        "lag_seconds_bucket1.0": 2.0,
        "lag_seconds_bucket+Inf": 4.0,
        "lag_seconds_count": 4.0,
        "lag_seconds_sum": 19.0,
    }


def test_a_process_that_has_ended_has_no_state() -> None:
    """Totals keep the counters of a process that has ended, but not its gauges.

    Adding to a copy of totals does not change the original.
    """
    gone = Totals()
    gone.add(ONE, ended=True)
    totals = deepcopy(gone)
    totals.add(OTHER)
    assert samples(totals.render())["calls_totala"] == 7.0
    assert samples(totals.render())["waiting"] == 2.0
    assert samples(gone.render())["calls_totala"] == 3.0
    assert "waiting" not in samples(gone.render())


async def joined(processes: ProcessMetrics, number: int, metrics: Metrics) -> SupervisorChannel:
    """Return the channel of a process that exports these metrics, connected to its supervisor."""

    async def own() -> bytes:
        return metrics.render()

    ours, theirs = socket.socketpair()
    channel = await SupervisorChannel.open(theirs, gone=lambda: None)
    channel.respond = own
    await processes.add(number, ours)
    return channel


@pytest.mark.anyio
async def test_any_process_tells_the_sums_of_all() -> None:
    """Each process reports the sums of all processes.

    After a process has ended, its counters stay in the sums, and it is counted as lost.
    """
    processes, first, second = ProcessMetrics(Metrics(), 0), Metrics(), Metrics()
    channels = [await joined(processes, number, metrics) for number, metrics in enumerate((first, second))]
    for metrics in (first, second):
        metrics.server_processes.set(1)
    first.events_published.inc(3)
    second.events_published.inc(4)
    first.subscribers.set(1)
    second.subscribers.set(2)
    for channel in channels:
        told = samples(await channel.request())
        assert told["pycalc_events_published_total"] == 7.0
        assert told["pycalc_event_subscribers"] == 3.0
        assert told["pycalc_server_processes"] == 2.0
    await channels[0].aclose()
    await processes.remove(0)
    told = samples(await channels[1].request())
    assert told["pycalc_events_published_total"] == 7.0
    assert told["pycalc_event_subscribers"] == 2.0
    assert told["pycalc_server_processes"] == 1.0
    assert told["pycalc_server_processes_lost_total"] == 1.0
    await channels[1].aclose()
    await processes.remove(1)


@pytest.mark.anyio
async def test_a_process_that_does_not_answer_is_not_waited_for() -> None:
    """If a process does not answer, its last metrics are used; if the supervisor does not, Unavailable is raised."""
    processes, busy, idle = ProcessMetrics(Metrics(), 0), Metrics(), Metrics()
    channels = [await joined(processes, number, metrics) for number, metrics in enumerate((busy, idle))]
    busy.events_published.inc(5)
    assert samples(await channels[1].request())["pycalc_events_published_total"] == 5.0
    never = asyncio.Event()

    async def silence() -> bytes:
        await never.wait()
        return b""

    channels[0].respond = silence
    assert samples(await channels[1].request())["pycalc_events_published_total"] == 5.0
    ours, theirs = socket.socketpair()
    alone = await SupervisorChannel.open(ours, gone=lambda: None)
    with pytest.raises(Unavailable):
        await alone.request(0.05)
    theirs.close()
    with pytest.raises(Unavailable):
        await alone.request()
    for number, channel in enumerate(channels):
        await channel.aclose()
        await processes.remove(number)
    await alone.aclose()


@pytest.mark.anyio
async def test_a_failed_request_for_metrics_is_repeated() -> None:
    """If a process fails to produce its metrics, Unavailable is raised at once, and the next request works normally."""
    answers: list[bytes | RuntimeError] = [RuntimeError("not now"), b"waiting 1.0\n"]

    async def told() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    ours, theirs = socket.socketpair()
    asking = await SupervisorChannel.open(ours, gone=lambda: None)
    asked = await SupervisorChannel.open(theirs, gone=lambda: None)
    asked.respond = told
    with pytest.raises(Unavailable):
        await asking.request(60)
    assert await asking.request() == b"waiting 1.0\n"
    await asking.aclose()
    await asked.aclose()


@pytest.mark.parametrize("gauge", ["pycalc_cache_circuit", "pycalc_key_file_unreadable", "pycalc_outbox_backlog"])
def test_a_gauge_that_processes_share_is_not_summed(gauge: str) -> None:
    """A gauge of something that all processes share is the maximum of their values, not the sum."""
    totals = Totals()
    for value in (2.0, 1.0):
        totals.add(f"# TYPE {gauge} gauge\n{gauge} {value}\n".encode())
    assert samples(totals.render()) == {gauge: 2.0}
