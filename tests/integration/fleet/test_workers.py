"""Several server processes on one port and one PostgreSQL: together they act as one service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.harness.accounts import new_admin, new_person
from tests.harness.metrics import metric
from tests.harness.postgres import Postgres
from tests.harness.processes import alive, children
from tests.harness.raw import exchange
from tests.harness.servers import KEYS, SERVE, Server, free_port, pycalc, settings_of, spawn
from tests.harness.waiting import wait_until

CLIENTS = 40
# The deadline for processes that must end by themselves.
SECONDS = 60.0


@contextmanager
def two_processes(data: Path, database_url: str) -> Iterator[Server]:
    """Run a service of a supervisor and two server processes, and wait until both of these answer."""
    with pycalc(data=data, database_url=database_url, workers="2", compute_workers="1") as running:
        wait_until(lambda: len(children(running.pid)) == 2 and len(answering(running)) == 2, "both answer")
        yield running


@pytest.fixture(scope="module")
def service(data: Path, postgres_server: Postgres, migrated: str) -> Iterator[Server]:
    """Run a service that all tests share."""
    with two_processes(data, postgres_server.new_database(migrated)) as running:
        yield running


@pytest.fixture
def ending(tmp_path: Path, postgres_url: str) -> Iterator[Server]:
    """Run a service that the test may end."""
    with two_processes(tmp_path / "data", postgres_url) as running:
        yield running


def sockets(pid: int) -> int:
    """Return the number of a process's open sockets."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor was closed in the meantime
            count += "socket:" in os.readlink(link)
    return count


def answering(service: Server) -> set[int]:
    """Open many connections at once, and return the ids of the processes that accept at least one of them."""
    before = {pid: sockets(pid) for pid in children(service.pid)}
    with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=service.url, timeout=15)) for _ in range(CLIENTS)]
        statuses = pool.map(lambda client: client.get("/healthz").status_code, clients)
        assert set(statuses) == {200}
        return {pid for pid, count in before.items() if sockets(pid) > count}


def test_they_are_one_service(service: Server, data: Path) -> None:
    """All processes know an account, its token and its history, and share the token that registers the first admin."""
    with httpx.Client(base_url=service.url, timeout=15) as client:
        assert new_admin(client, data).name
        person = new_person(client)
    for n in range(20):
        answer = httpx.get(f"{service.url}/fibonacci/{n}", headers=person.headers)  # each on a new connection
        assert answer.status_code == 200
    items = httpx.get(f"{service.url}/secure-history", headers=person.headers).json()["items"]
    assert [item["input"]["n"] for item in items] == list(range(20))[::-1]


def test_a_process_that_dies_is_replaced(service: Server) -> None:
    """If one of two processes is killed, another one replaces it, and both answer again."""
    before = set(children(service.pid))
    assert len(before) == 2
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(children(service.pid)) - before) == 1, "another one runs")
    wait_until(lambda: len(answering(service)) == 2, "both answer again")


def counted(service: Server) -> float:
    """Return the number of calculations that the metrics report, over a new connection."""
    with httpx.Client(base_url=service.url, timeout=15) as client:
        return metric(client, "pycalc_calculations_total")


def test_whichever_process_is_asked_the_metrics_are_those_of_all(service: Server) -> None:
    """Both processes report the sum of all calculations, which does not decrease when a process is killed."""
    earlier = counted(service)
    with httpx.Client(base_url=service.url, timeout=15) as client:
        person = new_person(client)
    with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=service.url, timeout=15)) for _ in range(CLIENTS)]
        answers = pool.map(lambda client: client.get("/fibonacci/7", headers=person.headers).status_code, clients)
        assert set(answers) == {200}
        told = list(pool.map(lambda client: metric(client, "pycalc_calculations_total"), clients))
        assert told == [earlier + CLIENTS] * CLIENTS
        assert metric(clients[0], "pycalc_server_processes") == 2.0
        lost = metric(clients[0], "pycalc_server_processes_lost_total")
    before = set(children(service.pid))
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(set(children(service.pid)) - before) == 1, "another one runs")
    assert counted(service) == earlier + CLIENTS
    with httpx.Client(base_url=service.url, timeout=15) as client:
        assert metric(client, "pycalc_server_processes_lost_total") == lost + 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_whoever_reads_the_address_can_connect(postgres_url: str, tmp_path: Path, workers: str) -> None:
    """When the service has printed its address, a connection to the address is not refused, although it may wait."""
    port = free_port()
    settings = settings_of(tmp_path, port, database_url=postgres_url, workers=workers, compute_workers="1")
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, env={**os.environ, **settings}) as starting:
        try:
            assert starting.stdout is not None
            assert starting.stdout.readline() == f"pycalc is at http://127.0.0.1:{port}\n".encode()
            assert exchange(port, "GET", "/healthz").status == 200
        finally:
            starting.terminate()


def test_they_end_together(ending: Server) -> None:
    """SIGTERM to the supervisor ends it with status 0, and ends all its processes."""
    processes = children(ending.pid)
    os.kill(ending.pid, signal.SIGTERM)
    assert ending.process.wait(SECONDS) == 0
    assert not any(map(alive, processes))


def test_signals_again_and_again(ending: Server) -> None:
    """Repeated signals to the supervisor end it with status 0."""
    while ending.process.poll() is None:
        ending.process.send_signal(signal.SIGTERM)
        ending.process.send_signal(signal.SIGINT)
    assert ending.process.returncode == 0


def test_they_end_together_while_they_start(postgres_url: str, tmp_path: Path) -> None:
    """SIGTERM to the supervisor ends it with status 0, even while its processes are starting."""
    supervisor = spawn(SERVE, settings_of(tmp_path, free_port(), database_url=postgres_url, workers="2"))
    wait_until(lambda: len(children(supervisor.pid)) == 2, "both have been started")
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(SECONDS) == 0


def test_without_their_supervisor_they_end(ending: Server) -> None:
    """If the supervisor is killed, its processes end and release the port."""
    processes = children(ending.pid)
    os.kill(ending.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, processes)), "the processes have ended")
    socket.create_server(("127.0.0.1", ending.port)).close()


@pytest.mark.parametrize(
    ("settings", "sentence", "logged"),
    [
        ({"PYCALC_WORKERS": "2"}, "one process serves an SQLite file", []),
        (
            {"PYCALC_WORKERS": "2", "PYCALC_DATABASE_URL": "postgresql://127.0.0.1:1/x"},
            "The database is not available",
            ["the database is not available"],
        ),
    ],
)
def test_an_unusable_database_ends_serve_with_a_message(
    tmp_path: Path, settings: dict[str, str], sentence: str, logged: list[str]
) -> None:
    """With several processes, ``pycalc serve`` exits with a message if the database is SQLite or unreachable."""
    done = subprocess.run(
        [sys.executable, "-m", "pycalc", "serve"],
        env={
            "PYCALC_DATA_DIR": str(tmp_path),
            "PYCALC_PORT": "0",
            "PYCALC_SECRET_KEYS": KEYS["secret_keys"],
            "PYCALC_PASSWORD_KEYS": KEYS["password_keys"],
            "PYTHONPATH": ":".join(sys.path),
            **settings,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    *records, told = done.stderr.splitlines()
    assert told.startswith("pycalc: ")
    assert sentence in told
    assert [json.loads(record)["event"] for record in records] == logged
