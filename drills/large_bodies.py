"""A drill with request bodies of 100 MB, half of them chunked: the service refuses them and keeps none in memory."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drills.support.finding import Finding, faults
from tests.harness.raw import Reply, exchange
from tests.harness.servers import Server, log_in, pycalc

_PATHS = ("/batch", "/register", "/login")
_AT_ONCE = 4
_MOST_MIB = 5.0
# The value that resets the peak in /proc/PID/clear_refs (proc(5)).
_FORGET_PEAK = "5"


def large_bodies(megabytes: int = 100) -> Finding:
    """Send bodies of ``megabytes`` MB, several at once; judge the answers and how much peak memory grows."""
    with pycalc() as server:
        token = log_in(server)
        body = bytes(megabytes * 1_000_000)
        _send(server, token, "/batch", bytes(2_000_000), chunked=True)
        before = _new_peak(server)
        with ThreadPoolExecutor(_AT_ONCE) as clients:
            sent = [
                clients.submit(_send, server, token, path, body, chunked=chunked)
                for path in _PATHS
                for chunked in (False, True)
            ]
            replies = [reply.result() for reply in sent]
        grown = server.memory_mib("VmHWM") - before
    answers = Counter((reply.status, reply.headers["Content-Type"]) for reply in replies)
    right = answers[413, "application/problem+json"]
    return Finding(
        "large bodies",
        f"{len(sent)} bodies of {megabytes} MB, {_AT_ONCE} at once, half of them chunked",
        {"answered 413": right, "memory grew by MiB": grown},
        faults(other_answers=len(sent) - right, grew_too_much=grown if grown > _MOST_MIB else 0),
    )


def _new_peak(server: Server) -> float:
    """Reset the memory peak of the process tree, and return the new one in MiB."""
    for process in server.processes():
        (Path(process) / "clear_refs").write_text(_FORGET_PEAK)
    return server.memory_mib("VmHWM")


def _send(server: Server, token: str, path: str, body: bytes, *, chunked: bool) -> Reply:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return exchange(server.port, "POST", path, headers, body, chunked=chunked)
