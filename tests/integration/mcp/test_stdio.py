"""``pycalc mcp``: the tools over standard input and output, without a server or an account."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gmpy2
import pytest

ROOT = Path(__file__).parents[3]


class Assistant:
    """A client that calls the tools by JSON-RPC, one message a line."""

    def __init__(self, tools: subprocess.Popen[str]) -> None:
        self._tools = tools
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.server = self.ask("initialize", hello)["serverInfo"]
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Send a request and return its result."""
        self._write({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
        assert self._tools.stdout is not None
        return json.loads(self._tools.stdout.readline())["result"]

    def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool; return the members of its result, or the text of its error."""
        found = self.ask("tools/call", {"name": tool, "arguments": arguments})
        return found["content"][0]["text"] if found["isError"] else found["structuredContent"]

    def _write(self, message: dict[str, Any]) -> None:
        assert self._tools.stdin is not None
        self._tools.stdin.write(json.dumps(message) + "\n")
        self._tools.stdin.flush()


@pytest.fixture
def assistant(tmp_path: Path) -> Iterator[Assistant]:
    """Start ``pycalc mcp`` in an empty folder; at the end, check that it ends with its input and wrote no file."""
    command = [sys.executable, "-m", "pycalc", "mcp"]
    pipe, environment = subprocess.PIPE, {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe
    ) as tools:
        yield Assistant(tools)
        assert tools.communicate(timeout=30) == ("", "")
    assert tools.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_desktop_assistant_calculates(assistant: Assistant) -> None:
    """All tools but the history are listed; digits of a long result can be read later; errors say what to correct."""
    names = [tool["name"] for tool in assistant.ask("tools/list", {})["tools"]]
    assert ("evaluate" in names, "digits" in names, "history" in names) == (True, True, False)
    long = assistant.call("evaluate", expression="fibonacci(20000)")
    assert assistant.call("evaluate", expression="2^521 - 1")["result"] == str(2**521 - 1)
    digits = str(gmpy2.fib(20000))
    assert assistant.call("digits", id=long["id"], start=4000, count=50)["text"] == digits[4000:4050]
    operations = [{"operation": "gcd", "input": {"a": "6", "b": "4"}}, {"operation": "gcd", "input": {"a": "6"}}]
    results = assistant.call("batch", operations=operations)["results"]
    assert [each.get("result", each.get("error")) for each in results] == ["2", "b is missing: it is required."]
    assert "has 301029995664 digits" in assistant.call("pow", x="2", y="1000000000000")
    assert assistant.call("history") == "Without a server there is no history."
    assert "no such calculation" in assistant.call("digits", id="nonsense")
    ends = assistant.call("pow", x="2", y="1000000000000", view="summary")
    assert "is a summary, which has no digits" in assistant.call("digits", id=ends["id"])
