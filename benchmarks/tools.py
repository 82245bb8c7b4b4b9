"""A benchmark of a tool call over MCP, compared with the same calculation by GET."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from mcp.types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY

from benchmarks.support.timing import burst
from tests.harness.servers import log_in, pycalc

ROUNDS = 5
SECONDS = 3
_ACCEPT = "application/json, text/event-stream"
_CALL: dict[str, object] = {"name": "fibonacci", "arguments": {"n": "100"}}
_META = {PROTOCOL_VERSION_META_KEY: "2026-07-28", CLIENT_CAPABILITIES_META_KEY: {}}
_REQUESTS: dict[str, tuple[dict[str, object], dict[str, str]]] = {
    "2025-11-25": (_CALL, {}),
    "2026-07-28": ({**_CALL, "_meta": _META}, {"Mcp-Method": "tools/call", "Mcp-Name": "fibonacci"}),
}


def _message(params: Mapping[str, object]) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def tools() -> None:
    """Print the processor time of an MCP tool call, for two versions of the protocol, and of the same GET."""
    print(f"\n## A call of a tool beside the same GET ({ROUNDS} rounds of {SECONDS} s, medians)\n")
    print("| request | CPU us/request | ratio |")
    print("|---|---|---|")
    found: dict[str, list[float]] = {}
    with pycalc() as server, TemporaryDirectory() as folder:
        token = log_in(server)
        fields = {"Accept": _ACCEPT, "Authorization": f"Bearer {token}"}
        # The first call imports the MCP SDK.
        first = httpx.post(f"{server.url}/mcp", json=_message(_CALL), headers=fields, timeout=60)
        first.raise_for_status()
        for _ in range(ROUNDS):
            load = burst(server, "/fibonacci/100", token, SECONDS)
            found.setdefault("GET /fibonacci/100", []).append(load.cpu_us)
            for version, (params, headers) in _REQUESTS.items():
                script = Path(folder) / "call.lua"
                script.write_text(f"wrk.method = 'POST'\nwrk.body = [[{json.dumps(_message(params))}]]\n")
                fields = {"Content-Type": "application/json", "Accept": _ACCEPT, "MCP-Protocol-Version": version}
                load = burst(server, "/mcp", token, SECONDS, str(script), headers={**fields, **headers})
                found.setdefault(f"tools/call, protocol {version}", []).append(load.cpu_us)
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    least = medians["GET /fibonacci/100"]
    for name, figure in medians.items():
        print(f"| {name} | {figure:.0f} | {figure / least:.1f} |")
