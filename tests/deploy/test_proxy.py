"""The nginx of compose.yaml, with its configuration, in front of a real service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pycalc.server import granian_worker
from tests.deploy.images import ROOT
from tests.harness.accounts import new_name, new_person, registration
from tests.harness.servers import Server, answers, free_port, pycalc
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.programs
CONFIGURATION = ROOT / "deploy/compose/nginx.conf"


@contextmanager
def _nginx(folder: Path, service: Server) -> Iterator[httpx.Client]:
    """Run nginx in front of ``service``, which replaces both servers of Compose; yield an HTTP client of nginx."""
    if shutil.which("nginx") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("nginx is not installed")
    port, text = free_port(), CONFIGURATION.read_text()
    for instance in ("api-1:8080", "api-2:8080"):
        text = text.replace(instance, f"127.0.0.1:{service.port}")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/", f"{folder}/")  # noqa: S108
    (folder / "nginx.conf").write_text(f"daemon off;\n{text}")
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "an answer by way of nginx")
            yield client
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def client(tmp_path: Path, server: Server) -> Iterator[httpx.Client]:
    """Return an HTTP client of nginx."""
    with _nginx(tmp_path, server) as client:
        yield client


def test_passes_results_on(client: httpx.Client) -> None:
    """Nginx passes on a long result as a whole, and for a request with a range only this range."""
    person = new_person(client)
    headers = {**person.headers, "Accept": "text/plain"}
    whole = client.get("/factorial/100000", headers=headers)
    part = client.get("/factorial/100000", headers={**headers, "Range": "bytes=0-9"})
    assert (whole.status_code, len(whole.text), whole.text[:10]) == (200, 456574, "2824229407")
    assert (part.status_code, part.text) == (206, "2824229407")


def test_passes_events_on_at_once(client: httpx.Client) -> None:
    """Nginx passes an event on at once, while the event stream is still open."""
    person = new_person(client)
    with client.stream("GET", "/events", headers=person.headers) as events:
        calculation = client.get("/fibonacci/100", headers=person.headers).json()
        assert any(line == f"id: {calculation['id']}" for line in events.iter_lines())


def test_silent_connections_are_given_up_before_the_service_ends_them() -> None:
    """Nginx closes idle connections before the service does; otherwise nginx could send a request on a closed one."""
    upstream = CONFIGURATION.read_text().partition("upstream pycalc {")[2].partition("}")[0]
    kept = re.search(r"keepalive_timeout (\d+)s;", upstream)
    assert kept is not None
    assert int(kept[1]) * 1000 < granian_worker._HEADER_READ_MS


def test_metrics_stay_inside(client: httpx.Client) -> None:
    """A client of nginx gets 404 for /metrics."""
    assert client.get("/metrics").status_code == 404


def test_clients_can_not_choose_their_address(tmp_path: Path) -> None:
    """Registrations are counted by the address that nginx saw, whatever address the client's header claims."""
    with pycalc(register_limit="2/hour", trusted_proxies="127.0.0.1") as service, _nginx(tmp_path, service) as client:
        statuses = [
            client.post(
                "/register", json=registration(new_name()), headers={"X-Forwarded-For": f"192.0.2.{n}"}
            ).status_code
            for n in range(3)
        ]
    assert statuses == [201, 201, 429]
