"""The MCP tools, used by another implementation of the protocol: the MCP inspector's command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import gmpy2
import httpx
import pytest

from tests.conftest import require_program
from tests.harness.accounts import new_person
from tests.harness.daemons import program
from tests.harness.npm import npm_packages
from tests.harness.servers import Server

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "harness" / "mcp_inspector"
TOOL_ERROR, NO_CREDENTIAL = 5, 3  # exit statuses of the inspector


class Inspector(NamedTuple):
    """The inspector, and the target that it calls."""

    command: list[str]
    target: list[str]
    home: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the inspector, which keeps its files in a folder of the test; return its outcome."""
        command = [*self.command, *self.target, *arguments]
        environment = {**os.environ, "HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def call(self, tool: str, *arguments: str, status: int = 0) -> Any:
        """Call a tool, and return its result."""
        options = [part for argument in arguments for part in ("--tool-arg", argument)]
        done = self.run("--method", "tools/call", "--tool-name", tool, *options)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def inspector_command() -> list[str]:
    """Return the command of the inspector, installed from npm."""
    require_program("npm")
    return [program("node"), str(npm_packages(FOLDER) / "node_modules" / ".bin" / "mcp-inspector"), "--cli"]


@pytest.fixture(params=["http", "stdio"])
def inspector(
    request: pytest.FixtureRequest, inspector_command: list[str], server: Server, tmp_path: Path
) -> Inspector:
    """Return the inspector for the HTTP service and for ``pycalc mcp`` in turn."""
    if request.param == "stdio":
        return Inspector(inspector_command, [sys.executable, "-m", "pycalc", "mcp"], tmp_path)
    with httpx.Client(base_url=server.url) as client:
        token = new_person(client).token
    return Inspector(inspector_command, [f"{server.url}/mcp", "--header", f"Authorization: Bearer {token}"], tmp_path)


def test_the_inspector_finds_no_fault(inspector: Inspector) -> None:
    """The inspector accepts every schema; calls give a result, an error of the tool, or a link to a long result."""
    listed = inspector.run("--method", "tools/list", "--strict")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert json.loads(listed.stdout)["tools"][0]["name"] == "evaluate"
    assert inspector.call("binomial", "n=1000", "k=500")["structuredContent"]["result"] == str(gmpy2.comb(1000, 500))
    wrong = inspector.call("evaluate", "expression=3 + * 4", status=TOOL_ERROR)
    assert "character 5" in wrong["content"][0]["text"]
    long = inspector.call("fibonacci", "n=20000")
    assert long["structuredContent"]["trailing"] == str(gmpy2.fib(20000))[-20:]
    assert long["content"][1]["size"] == len(str(gmpy2.fib(20000)))


def test_the_inspector_reads_a_linked_resource(inspector_command: list[str], server: Server, tmp_path: Path) -> None:
    """The linked resource of a long result has its first digits; without credentials nothing can be read."""
    with httpx.Client(base_url=server.url) as client:
        token = new_person(client).token
    url = f"{server.url}/mcp"
    inspector = Inspector(inspector_command, [url, "--header", f"Authorization: Bearer {token}"], tmp_path)
    link = inspector.call("fibonacci", "n=20000")["content"][1]
    read = json.loads(inspector.run("--method", "resources/read", "--uri", link["uri"]).stdout)
    assert read["contents"][0]["text"] == str(gmpy2.fib(20000))[:2000]
    assert Inspector(inspector_command, [url], tmp_path).run("--method", "tools/list").returncode == NO_CREDENTIAL
