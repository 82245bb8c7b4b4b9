"""Traces of calculations, from the request to the consumer of the event, across processes."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.harness.accounts import new_person
from tests.harness.collector import Collector, Span, collector
from tests.harness.kafka import Kafka
from tests.harness.processes import children
from tests.harness.servers import free_port, pycalc, running, settings_of
from tests.harness.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
# The numbers of span kinds in OTLP's trace.proto.
SERVER, PRODUCER, CONSUMER = 2, 4, 5
# The id of the caller's span.
BY = "00f067aa0ba902b7"
# A calculation that is long enough for a worker process.
SLOW = "/fibonacci/300000"


@pytest.fixture
def sink() -> Iterator[Collector]:
    """Run a trace collector."""
    with collector() as started:
        yield started


def begun(sampled: str = "01") -> tuple[str, dict[str, str]]:
    """Return a new trace id, and a traceparent header for this trace with the flags ``sampled``."""
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{BY}-{sampled}"}


def complete(sink: Collector, trace_id: str, *names: str) -> dict[str, Span]:
    """Return the spans of a trace, once it has spans with all of these names."""
    wait_until(lambda: sink.trace(trace_id).keys() >= {*names}, f"{names} are in the trace", 30)
    return sink.trace(trace_id)


def test_one_process(sink: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one service, each step from the request to the consumer is a span, whose parent is the step that caused it."""
    for name, value in sink.environment.items():
        monkeypatch.setenv(name, value)
    trace_id, header = begun()
    with pycalc() as server, httpx.Client(base_url=server.url, timeout=15) as client:
        person = new_person(client)
        assert client.get(SLOW, headers={**person.headers, **header}).status_code == 200
        route = "GET /fibonacci/{n}"
        names = (route, "cache", "compute", "work", "record", "commit", "publish", "count")
        spans = complete(sink, trace_id, *names)
        workers = children(server.pid)
    request = spans[route]
    assert request.parent == BY
    assert request.kind == SERVER
    assert request.attributes["http.response.status_code"] == 200
    parents = {name: spans[name].parent for name in names[1:]}
    assert parents == {
        "cache": request.span_id,
        "compute": request.span_id,
        "work": spans["compute"].span_id,
        "record": request.span_id,
        "commit": spans["record"].span_id,
        "publish": spans["record"].span_id,
        "count": spans["record"].span_id,
    }
    assert spans["work"].attributes["process.pid"] in workers
    assert spans["work"].seconds <= spans["compute"].seconds <= request.seconds
    assert spans["commit"].attributes["pycalc.commit.rows"] == 1
    assert (spans["publish"].kind, spans["count"].kind) == (PRODUCER, CONSUMER)


def test_what_is_not_sampled_leaves_nothing(sink: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsampled trace has no spans, and its events carry no traceparent."""
    for name, value in sink.environment.items():
        monkeypatch.setenv(name, value)
    unsampled, header = begun("00")
    sampled, other = begun()
    with pycalc() as server, httpx.Client(base_url=server.url, timeout=15) as client:
        person = new_person(client)
        for each in (header, other):
            assert client.get("/fibonacci/7", headers={**person.headers, **each}).status_code == 200
        complete(sink, sampled, "count")
        with client.stream("GET", "/events", headers={**person.headers, "Last-Event-ID": NIL}) as stream:
            events = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
            first, second = next(events), next(events)
    assert sink.trace(unsampled) == {}
    assert "traceparent" not in first
    record = sink.trace(sampled)["record"]
    assert second["traceparent"] == f"00-{sampled}-{record.span_id}-01"


NIL = "00000000-0000-7000-8000-000000000000"


@contextmanager
def part(name: str, settings: dict[str, str]) -> Iterator[None]:
    """Run ``pycalc relay`` or ``pycalc consume``."""
    port = int(settings["PYCALC_PORT"])
    with running(name, [sys.executable, "-m", "pycalc", name], "/metrics", port, settings):
        yield


def test_several_processes_and_kafka(
    sink: Collector, monkeypatch: pytest.MonkeyPatch, postgres_url: str, real_kafka: Kafka, tmp_path: Path
) -> None:
    """With PostgreSQL and Kafka, a consumer in another process continues the trace of the request."""
    for name, value in sink.environment.items():
        monkeypatch.setenv(name, value)
    stream_url = real_kafka.url(f"traced-{secrets.token_hex(6)}")
    consumer = settings_of(tmp_path, free_port(), database_url=postgres_url, stream_url=stream_url)
    trace_id, header = begun()
    with (
        pycalc(data=tmp_path, database_url=postgres_url, stream_url=stream_url) as server,
        part("consume", consumer),
        httpx.Client(base_url=server.url, timeout=15) as client,
    ):
        person = new_person(client)
        assert client.get("/pow/2/10", headers={**person.headers, **header}).status_code == 200
        spans = complete(sink, trace_id, "record", "commit", "publish", "count")
    assert spans["publish"].part == "serve"
    assert spans["count"].part == "consume"
    assert spans["publish"].parent == spans["count"].parent == spans["commit"].parent == spans["record"].span_id


def test_a_collector_that_is_not_there_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the trace collector can't be reached, the service still answers, and SIGTERM soon ends it with status 0."""
    monkeypatch.setenv("PYCALC_TRACING", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pycalc() as server, httpx.Client(base_url=server.url, timeout=15) as client:
        person = new_person(client)
        assert client.get("/fibonacci/7", headers=person.headers).status_code == 200
        server.process.terminate()
        assert server.process.wait(9) == 0


PROGRAM = """
import asyncio, sys
from pycalc.main import create_app
from pycalc.settings import Settings

async def main():
    app = create_app(Settings())
    async with app.router.lifespan_context(app):
        print(*sorted(name for name in sys.modules if name.startswith("opentelemetry.")))

asyncio.run(main())
"""


@pytest.mark.parametrize("wanted", ["false", "true"])
def test_what_is_not_wanted_is_not_loaded(tmp_path: Path, wanted: str) -> None:
    """OpenTelemetry's SDK and exporter are imported only if PYCALC_TRACING is true."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYCALC_TRACING": wanted},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = {name.split(".")[1] for name in done.stdout.split()}
    assert {"sdk", "exporter"} & loaded == ({"sdk", "exporter"} if wanted == "true" else set())
