"""A drill with a thousand slow connections: the service closes them, and other clients hardly notice."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import socket
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from time import monotonic, sleep

from drills.support.connection import Connection, request
from drills.support.finding import Finding, faults
from tests.harness.servers import Server, log_in, pycalc

_IN_TIME = 12.0
# Seconds after which the drill stops waiting for the service to close a connection.
_LONGEST = 20.0
_OTHERS = 4
_PAUSE = 0.01
# States of /proc/net/tcp in which the service's side of a connection holds memory; not TIME-WAIT, not listening.
_ESTABLISHED_OR_CLOSING = ("01", "04", "05", "08", "09", "0B")
# The state FIN-WAIT-2, and the inode of a socket that no process has open any more.
_HALF_CLOSED, _NOBODYS = "05", "0"
# A result of 4 million digits, which is more than the socket's buffers hold.
_LONG_RESULT = "/fibonacci/20000000"


def _slow_header(token: str) -> bytes:
    return f"GET /fibonacci/10 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-Slow: ".encode()


def _slow_body(token: str) -> bytes:
    fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Content-Length": "1000"}
    return request("/batch", fields, "POST")


def _slow_reading(token: str) -> bytes:
    return request(_LONG_RESULT, {"Authorization": f"Bearer {token}", "Accept": "text/plain"})


# Functions of a token that return what a slow client sends first; then it sends, or reads, one byte a second.
KINDS: dict[str, Callable[[str], bytes]] = {
    "headers": _slow_header,
    "bodies": _slow_body,
    "readers": _slow_reading,
}


def _attack(port: int, sent: bytes, connections: int, reading: bool, report: Pipe) -> None:
    """Open connections and send ``sent`` on each; then read or send one byte a second on each.

    With ``reading``, the clients read; without it, they send. They stop when ``report`` has a message. Before they read
    or send, ``report`` gets a map from the local port of each connection to the time at which it was opened.
    """
    os.nice(10)  # on a real network the clients run on other machines
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    opened, slow = {}, []
    for _ in range(connections):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(sent)
        client.setblocking(False)
        opened[client.getsockname()[1]] = monotonic()
        slow.append(client)
    report.send(opened)
    while not report.poll(1):
        for client in slow:
            with suppress(OSError):
                client.recv(1) if reading else client.send(b" ")


@contextmanager
def _attacked(server: Server, token: str, kind: str, connections: int) -> Iterator[dict[int, float]]:
    """Run the slow clients during the ``with`` block; yield the time at which each connection opened, by local port."""
    context = multiprocessing.get_context("spawn")
    report, remote = context.Pipe()
    arguments = (server.port, KINDS[kind](token), connections, kind == "readers", remote)
    process = context.Process(target=_attack, args=arguments)
    process.start()
    try:
        yield report.recv()
    finally:
        report.send("stop")
        process.join()


def _open_ports(port: int) -> set[int]:
    """Return the client's port of each connection to ``port`` that the service still holds."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, _, _, _, _, _, inode, *_ = line.split()
        if (state, inode) == (_HALF_CLOSED, _NOBODYS):
            continue
        if int(local.rpartition(":")[2], 16) == port and state in _ESTABLISHED_OR_CLOSING:
            found.add(int(remote.rpartition(":")[2], 16))
    return found


def _closed(server: Server, opened: dict[int, float]) -> tuple[float, int]:
    """Wait for a bounded time until all connections are closed.

    Return the longest lifetime of a closed connection in seconds, and how many connections are still open.
    """
    longest, still = 0.0, set(opened)
    while still and monotonic() < max(opened.values()) + _LONGEST:
        sleep(0.1)
        gone = still - _open_ports(server.port)
        longest = max([longest, *(monotonic() - opened[port] for port in gone)])
        still -= gone
    return longest, len(still)


async def _others(port: int, token: str, seconds: float) -> list[float]:
    """Let a few ordinary clients calculate for ``seconds`` seconds; return their latencies in seconds."""
    until = monotonic() + seconds

    async def client(number: int) -> list[float]:
        connection, latencies = await Connection.open(port), []
        while monotonic() < until:
            number += _OTHERS
            answer = await connection.ask(request(f"/pow/{number}/2", {"Authorization": f"Bearer {token}"}))
            if answer.status != 200:
                raise RuntimeError(f"{answer}")
            latencies.append(answer.seconds)
            await asyncio.sleep(_PAUSE)
        connection.close()
        return latencies

    found = await asyncio.gather(*(client(number) for number in range(_OTHERS)))
    return [latency for latencies in found for latency in latencies]


def _p99(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98] * 1000


def slow(*kinds: str, connections: int = 1_000, seconds: float = 10.0) -> Finding:
    """Measure ordinary clients for ``seconds`` seconds alone, then again beside clients that send or read slowly.

    ``kinds``, keys of KINDS, say what the slow clients do. Each kind opens ``connections`` connections.
    """
    with pycalc() as server, ExitStack() as attacks:
        token = log_in(server)
        asyncio.run(_others(server.port, token, 1))
        before = _p99(asyncio.run(_others(server.port, token, seconds)))
        idle = server.memory_mib()
        attackers = [attacks.enter_context(_attacked(server, token, kind, connections)) for kind in kinds]
        opened = {port: moment for attacker in attackers for port, moment in attacker.items()}
        meanwhile = _p99(asyncio.run(_others(server.port, token, seconds)))
        longest, still_open = _closed(server, opened)
        peak = server.memory_mib("VmHWM")
    return Finding(
        f"slow {', '.join(kinds)}",
        f"{len(opened)} connections at one byte a second",
        {
            "open for at most s": longest,
            "others' p99 before ms": before,
            "meanwhile ms": meanwhile,
            "memory before MiB": idle,
            "at its peak MiB": peak,
        },
        faults(still_open=still_open, too_long=longest > _IN_TIME, others_suffer=meanwhile > 2 * before),
    )
