"""The image that ``docker build`` makes, built here without Docker.

Building takes minutes, so only ``make check-image`` runs these tests.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.containers import Container, run, running
from tests.deploy.images import Image, image, missing
from tests.harness.accounts import new_person
from tests.harness.processes import children
from tests.harness.servers import answers, free_port
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.skipif("PYCALC_CHECK_IMAGE" not in os.environ, reason="slow; run by make check-image")

USER = 10001
STOP_SECONDS = 9.0
LIMIT_BYTES = 250_000_000
# The unpacked size of python:3.13-slim-trixie as published; the image can't be downloaded here.
PYTHON_SLIM_BYTES = 123_000_000
DRIVERS = "asyncpg, bcrypt, confluent_kafka, gmpy2, google.cloud.pubsub_v1, granian, redis.asyncio, uvloop"

# A program that starts the service and sends itself SIGTERM when the command line begins to import the service.
_EARLY_SIGNAL = """
import os, signal, sys

class Early:
    def find_spec(self, name, *_):
        if name == "pycalc.server.serve":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Early())
from pycalc.cli.main import main
main(["serve"])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Build the image once."""
    if reason := missing():
        pytest.skip(reason)
    with image(tmp_path_factory.mktemp("buildah")) as made:
        yield made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder for /data that the image's user owns."""
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture
def served(built: Image, data: Path, tmp_path: Path) -> Iterator[tuple[Container, httpx.Client]]:
    """Run a container that serves on $PORT; yield it with an HTTP client."""
    port = free_port()
    with (
        running(built, data, log=tmp_path / "log", PORT=str(port), PYCALC_COMPUTE_WORKERS="1") as container,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
    ):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "an answer on $PORT")
        yield container, client


def _zombies(pid: int) -> list[int]:
    return [
        child for child in children(pid) if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    ]


def test_configuration(built: Image) -> None:
    """The image has its labels, runs as a numeric user and keeps its data in a volume."""
    assert built.config["User"] == "10001:10001"
    assert built.config["Entrypoint"] == ["pycalc"]
    assert built.config["Cmd"] == ["serve"]
    assert built.config["ExposedPorts"] == {"8080/tcp": {}}
    assert built.config["Volumes"] == {"/data": {}}
    assert built.config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert built.environment["PYCALC_HOST"] == "0.0.0.0"  # noqa: S104  # inside a container


def test_size(built: Image, capsys: pytest.CaptureFixture[str]) -> None:
    """On the official Python base image, our image would be smaller than 250 MB."""
    with capsys.disabled():
        print(f"\nadded to the base: {built.added_bytes / 1e6:.1f} MB")  # noqa: T201
    assert built.added_bytes < LIMIT_BYTES - PYTHON_SLIM_BYTES


def test_no_build_tools(built: Image) -> None:
    """Neither pip nor build tools are in the image's environment."""
    present = {path.name for path in (built.root / "opt/pycalc").glob("lib/python3*/site-packages/*")}
    assert present >= {"pycalc", "granian"}
    assert not present & {"pip", "hatchling", "setuptools", "pytest"}
    assert not (built.root / "src").exists()


def test_drivers_load(built: Image, data: Path) -> None:
    """Every driver can be imported, although its shared libraries are stripped."""
    outcome = run(built, data, "python", "-c", f"import {DRIVERS}")
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_nothing_is_compiled_at_start(built: Image, data: Path) -> None:
    """All modules that the service imports are compiled in the image, so that a start compiles nothing."""
    outcome = run(built, data, "python", "-vc", "import pycalc.cli.main, pycalc.server.serve, anyio.to_process")
    loaded = [line for line in outcome.stderr.splitlines() if line.startswith("# code object from ")]
    assert len(loaded) > 500
    assert [line for line in loaded if line.endswith(".py'")] == []


def test_read_only(built: Image, data: Path) -> None:
    """The image's user can write into the data folder; the rest of the file system is read-only."""
    outcome = run(built, data, "python", "-c", "open('/data/own', 'w'); open('/opt/other', 'w')")
    assert "Read-only file system: '/opt/other'" in outcome.stderr
    assert (data / "own").stat().st_uid == USER


def test_migrates(built: Image, data: Path) -> None:
    """The image can migrate the database, as a separate job before the service starts."""
    outcome = run(built, data, "pycalc", "migrate")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.endswith(" is up to date\n")


def test_serves_as_its_user(served: tuple[Container, httpx.Client]) -> None:
    """The service is process 1, is not root, answers on $PORT and computes in its worker processes."""
    container, client = served
    assert container.status("NSpid").split()[-1] == "1"
    assert container.status("Uid").split() == [str(USER)] * 4
    assert container.status("CapEff") == "0000000000000000"
    person = new_person(client)
    answer = client.get("/factorial/20000", headers=person.headers).json()
    assert answer["digits"] == 77338


def test_health(built: Image, data: Path, served: tuple[Container, httpx.Client]) -> None:
    """The image's health check succeeds for a running service, and fails if nothing listens on the port."""
    _, client = served
    command = built.healthcheck["Test"]
    assert command[0] == "CMD"
    assert run(built, data, *command[1:], PORT=str(client.base_url.port)).returncode == 0
    assert run(built, data, *command[1:], PORT=str(free_port())).returncode == 1


def test_reaps_workers(served: tuple[Container, httpx.Client]) -> None:
    """As process 1, the service reaps a killed worker process, and continues to compute."""
    container, client = served
    person = new_person(client)
    client.get("/factorial/20000", headers=person.headers)
    before = children(container.pid)
    assert before
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not set(before) & set(children(container.pid)), "the dead workers to be reaped")
    assert client.get("/factorial/20001", headers=person.headers).json()["digits"] == 77342
    assert _zombies(container.pid) == []


def test_stops_at_sigterm(served: tuple[Container, httpx.Client]) -> None:
    """SIGTERM ends the service, which is process 1, within nine seconds and with status 0."""
    container, client = served
    client.get("/factorial/20000", headers=new_person(client).headers)
    assert container.stop(STOP_SECONDS) == 0


def test_stops_while_starting(built: Image, data: Path) -> None:
    """SIGTERM ends the service even while it imports its modules, where process 1 would otherwise ignore it."""
    run(built, data, "python", "-c", _EARLY_SIGNAL, PORT=str(free_port()), seconds=STOP_SECONDS)
    assert list(data.iterdir()) == []
