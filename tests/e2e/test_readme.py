"""Tests of the README: its commands print the output that it shows, and its table of endpoints is complete."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.harness.accounts import new_person
from tests.harness.examples import blocks, normalized
from tests.harness.in_process import openapi_document
from tests.harness.servers import free_port, pycalc, running, settings_of
from tests.harness.waiting import wait_until

README = Path(__file__).parents[2] / "README.md"


def test_tour_prints_what_the_readme_shows() -> None:
    """On a new service, each command of the README's tour prints the line that the README shows below it."""
    (block,) = blocks(README.read_text(), "console")
    lines = block.splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    shown = [line for line in lines if not line.startswith("$ ")]
    assert len(commands) == 5
    with pycalc() as server:
        script = "\n".join(f"{command}; echo" for command in commands).replace(
            "localhost:8080", f"127.0.0.1:{server.port}"
        )
        printed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert [normalized(line) for line in printed.splitlines() if line] == [normalized(line) for line in shown]


@pytest.mark.programs
def test_the_mission_in_one_command(tmp_path: Path) -> None:
    """The program of ``make up-local`` caches and counts a calculation, and Ctrl-C stops all of its processes.

    The output has no warning of Kafka's C library.
    """
    port = free_port()
    environment = settings_of(tmp_path / "data", port)
    log = tmp_path / "log"
    with running(
        "make up-local", [sys.executable, "-m", "tests.harness.run", "local"], "/healthz", port, environment, log
    ) as local:
        with httpx.Client(base_url=local.url) as client:
            person = new_person(client)
            answers = [client.get("/fibonacci/300", headers=person.headers).json() for _ in range(2)]
            assert [answer["cached"] for answer in answers] == [False, True]

            def counted() -> list[int]:
                items = client.get("/usage", headers=person.headers).json()["items"]
                return [item["count"] for item in items]

            wait_until(lambda: counted() == [2], "the consumer has counted them", 60)
        daemons = [int(process.name) for process in local.processes()]
        local.process.send_signal(signal.SIGINT)
        assert local.process.wait(30) == 0
    assert re.findall(r"(?m)^%\d\|.*", log.read_text()) == []  # lines of Kafka's C library
    assert len(daemons) >= 4
    assert [pid for pid in daemons if Path(f"/proc/{pid}").exists()] == []
    assert (tmp_path / "data" / "pycalc.db").exists()


def test_endpoint_table_names_real_routes() -> None:
    """The README's table of endpoints has exactly the paths of the OpenAPI document and of the pages."""
    table = README.read_text().partition("## Endpoints")[2].partition("\n\nErrors")[0]
    named = set(re.findall(r"(/[a-z{][\w/{}.-]*|`GET /`)", table))
    documented = set(openapi_document()["paths"])
    pages = {"/console/", "/guide", "/docs", "/redoc", "/openapi.json", "/oidc/login", "/oidc/callback", "/mcp"}
    assert {path.replace("`GET /`", "/") for path in named} == documented | pages
