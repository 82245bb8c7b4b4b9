"""The metrics: rendered at most once a second, and optionally served on a separate port."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pycalc.main import create_app
from pycalc.observability.metrics import Metrics
from pycalc.server.metrics_port import metrics_served
from pycalc.settings import Settings
from tests.harness.metrics import metric
from tests.harness.postgres import Postgres
from tests.harness.servers import background, free_port, pycalc
from tests.harness.waiting import wait_until


@pytest.mark.anyio
async def test_metrics_are_rendered_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendered metrics are reused for the configured time, however many clients ask."""
    rendered = 0

    def render(_: Metrics) -> bytes:
        nonlocal rendered
        rendered += 1
        return b"# %d\n" % rendered

    monkeypatch.setattr(Metrics, "render", render)
    metrics = Metrics(seconds=3600.0)
    assert {await metrics.exposition() for _ in range(100)} == {b"# 1\n"}


def test_with_a_port_of_their_own_the_metrics_are_there_alone() -> None:
    """A separate metrics port serves only /metrics, which the main port neither serves nor documents."""
    port = free_port()
    with pycalc(metrics_port=str(port)) as server:
        answer = httpx.get(f"{server.url}/metrics")
        assert (answer.status_code, answer.json()["type"]) == (404, "/docs/problems#not-found")
        assert "/metrics" not in httpx.get(f"{server.url}/openapi.json").json()["paths"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as own:
            assert metric(own, "http_requests_total", route="/healthz") > 0
            answer = own.get("/metrics")
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert answer.headers["Content-Encoding"] in answer.request.headers["Accept-Encoding"]
            plain = own.get("/metrics", headers={"Accept-Encoding": "gzip;q=0"})
            assert "Content-Encoding" not in plain.headers
            assert "# TYPE http_requests_total counter" in plain.text
            assert own.get("/healthz").status_code == 404
            assert own.head("/metrics").status_code == 200
            assert own.post("/metrics").status_code == 405


def test_the_port_of_several_processes_tells_the_sums_of_all(postgres_server: Postgres, migrated: str) -> None:
    """With two server processes, the metrics port serves the sums of both, and the main port has no metrics."""
    port = free_port()
    database = postgres_server.new_database(migrated)
    with pycalc(metrics_port=str(port), workers="2", database_url=database) as server:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as own:
            wait_until(lambda: metric(own, "pycalc_server_processes") == 2, "the second process has started too")
        assert httpx.get(f"{server.url}/metrics").status_code == 404


async def _exposition() -> bytes:
    return b"x" * 10_000_000


@pytest.mark.anyio
async def test_no_client_of_the_port_holds_anything_up(caplog: pytest.LogCaptureFixture) -> None:
    """On the metrics port, an invalid request gets no answer and logs nothing; connections above 32 are closed."""
    port = free_port()
    async with metrics_served("127.0.0.1", port, _exposition, "PYCALC_METRICS_PORT"):
        for head in (b"GET\r\n\r\n", b"GET /metrics\r\n\r\n", b" \r\n\r\n", b"\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            assert await reader.read() == b""
            writer.close()
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(32)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        for reader, writer in idle:
            writer.write_eof()
            with suppress(ConnectionResetError):
                assert await reader.read() == b""  # the port has closed its end
            writer.close()
    assert caplog.records == []


@pytest.mark.anyio
async def test_a_client_that_reads_nothing_keeps_no_memory() -> None:
    """If a client of the metrics port does not read in time, its connection is closed before the answer's end."""
    port = free_port()
    async with metrics_served("127.0.0.1", port, _exposition, "PYCALC_METRICS_PORT", write_seconds=0.0):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert 0 < len(await reader.read()) < 10_000_000
        writer.close()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """If the metrics port is taken, the service does not start; the message names the port and its setting."""
    with pycalc() as other:
        message = rf"metrics on 127\.0\.0\.1:{other.port}: Address already in use; see PYCALC_METRICS_PORT"
        with pytest.raises(RuntimeError, match=message), pycalc(log=tmp_path / "log", metrics_port=str(other.port)):
            pass


def test_without_the_setting_the_path_is_the_services_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PYCALC_METRICS_PORT, the service's own port has the metrics; an empty value counts as none."""
    monkeypatch.setenv("PYCALC_METRICS_PORT", "")
    assert "/metrics" in create_app(settings).openapi()["paths"]
    assert Settings().metrics_port is None


def test_a_relay_tells_its_metrics_there_too(postgres_server: Postgres, migrated: str) -> None:
    """A relay serves metrics on PYCALC_METRICS_PORT, not PYCALC_PORT, so that one setting fits all processes."""
    database = postgres_server.new_database(migrated)
    port = free_port()
    stream = "kafka://127.0.0.1:9/events"
    with background("relay", port=port, metrics_port=str(port), database_url=database, stream_url=stream) as relay:
        families = {family.name for family in text_string_to_metric_families(httpx.get(f"{relay.url}/metrics").text)}
        assert "pycalc_outbox_backlog" in families


@pytest.mark.anyio
async def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the host of the metrics port is unknown, the error names the host, the reason and the setting."""

    class Unresolved(socket.socket):
        """A socket whose ``bind`` fails as for an unknown host; ``create_server`` turns this into its own error."""

        def bind(self, _address: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "socket", Unresolved)
    with pytest.raises(OSError, match=r"on nowhere:9101: Name or service not known; see PYCALC_METRICS_PORT$"):
        async with metrics_served("nowhere", 9101, _exposition, "PYCALC_METRICS_PORT"):
            pass
