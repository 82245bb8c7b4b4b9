"""A benchmark of a history of 10 million rows: its pages compared with those of a small history, and a large export."""

from __future__ import annotations

import http.client
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median, quantiles
from time import perf_counter, sleep
from urllib.parse import urlencode

from benchmarks.support.history_rows import ADMIN, PASSWORD_KEY, USERS, History, made
from tests.harness.accounts import PASSWORD
from tests.harness.servers import Server, post, pycalc

SMALL, LARGE = 10_000, 10_000_000
REQUESTS = 2_000
_UNCOUNTED = 100
TARGET = 1.2
EXPORTED = 1_000_000
# Users with so many rows that even the small history fills a page of each kind for them.
BUSY = USERS[:5]
_chance = random.Random(1)  # noqa: S311  # a distribution, not secrets

# The user who requests a page, and the page's filters.
Question = tuple[str, dict[str, str]]


def _own(**filters: str) -> Question:
    return _chance.choice(BUSY), filters


def _deep(history: History) -> str:
    return history.cursor(_chance.uniform(0.5, 1))


def _window(history: History) -> dict[str, str]:
    return {
        "since": history.moment(_chance.uniform(0, 0.5)),
        "until": history.moment(_chance.uniform(0.9, 1)),
    }


SHAPES: dict[str, Callable[[History], Question]] = {
    "own, newest": lambda _: _own(),
    "own, deep cursor": lambda history: _own(cursor=_deep(history)),
    "own, by operation": lambda _: _own(operation="pow"),
    "own, since and until": lambda history: _own(**_window(history)),
    "everyone's, newest": lambda _: (ADMIN, {}),
    "everyone's, deep cursor": lambda history: (ADMIN, {"cursor": _deep(history)}),
    "one user's, for an admin": lambda _: (ADMIN, {"user": _chance.choice(BUSY)}),
}


class _Reader:
    """A client with a persistent connection, which requests pages as several users and as the admin."""

    def __init__(self, server: Server, history: History) -> None:
        self._history = history
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._headers = {name: _bearer(server, name) for name in (*BUSY, ADMIN)}

    def pause(self) -> None:
        """Disconnect until the next page, because the server closes a connection that is idle for ten seconds."""
        self._connection.close()

    def milliseconds(self, shape: Callable[[History], Question]) -> float:
        """Request a full page; return the milliseconds until all of the page has arrived.

        ``shape`` returns the user who requests the page, and the query parameters.
        """
        user, filters = shape(self._history)
        path = f"/secure-history?{urlencode(filters)}"
        started = perf_counter()
        self._connection.request("GET", path, headers=self._headers[user])
        answer = self._connection.getresponse()
        body = answer.read()
        elapsed = (perf_counter() - started) * 1000
        if answer.status != 200 or body.count(b'{"id":') != 50:
            raise RuntimeError(f"{path}: {answer.status} {body[:500]!r}")
        return elapsed


def _bearer(server: Server, name: str) -> dict[str, str]:
    token = post(f"{server.url}/login", {"username": name, "password": PASSWORD})["access_token"]
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def _served(rows: int) -> Iterator[tuple[Server, History]]:
    """Run pycalc on a history of ``rows`` rows; yield the server and the history."""
    history = made(rows)
    with pycalc(
        data=history.folder,
        database_url=history.url,
        password_keys=PASSWORD_KEY,
        history_quota="",  # some users have more rows than the default quota
        history_retention="",
    ) as server:
        yield server, history


def _warm(history: History) -> None:
    """Read the SQLite files of a history, so that the system caches them as for a long-running service."""
    for file in history.folder.glob("*.db"):
        subprocess.run(["cat", file], stdout=subprocess.DEVNULL, check=True)


def pages() -> None:
    """Print how long a page of each kind takes in the large history and in the small one."""
    print(f"\n## A page of 50 of {LARGE:,} rows beside {SMALL:,} ({REQUESTS:,} of each in turn)\n")
    print("| page | p50 ms, large | small | p99 ms, large | small | ratio of p99 | target |")
    print("|---|---|---|---|---|---|---|")
    with _served(LARGE) as large, _served(SMALL) as small:
        readers = _Reader(*large), _Reader(*small)
        for title, shape in SHAPES.items():
            for reader in readers:
                reader.pause()
            _warm(large[1])
            rounds = [[reader.milliseconds(shape) for reader in readers] for _ in range(REQUESTS + _UNCOUNTED)]
            times = list(zip(*rounds[_UNCOUNTED:], strict=True))
            (p50, p50_small), (p99, p99_small) = map(median, times), (quantiles(of, n=100)[98] for of in times)
            print(
                f"| {title} | {p50:.2f} | {p50_small:.2f} | {p99:.2f} | {p99_small:.2f} | "
                f"**{p99 / p99_small:.2f}** | {TARGET} |"
            )


def exports() -> None:
    """Print the rate and the memory of an export, and the latencies of other requests during it."""
    print(f"\n## An export of {EXPORTED:,} of {LARGE:,} rows\n")
    print("| form | seconds | rows/s | MB/s | RSS idle MiB | peak MiB | `/healthz` meanwhile: p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|---|---|")
    for media_type in ("application/x-ndjson", "text/csv"):
        with _served(LARGE) as (server, history):
            path = f"/secure-history?{urlencode({'since': history.moment(1 - EXPORTED / LARGE)})}"
            headers = {**_bearer(server, ADMIN), "Accept": media_type}
            _warm(history)
            idle = server.memory_mib()
            started = perf_counter()
            size, waits = _download(server, path, headers)
            seconds = perf_counter() - started
            peak = server.memory_mib("VmHWM")
        print(
            f"| {media_type} | {seconds:.1f} | **{EXPORTED / seconds:,.0f}** | {size / seconds / 1e6:.0f} | "
            f"{idle:.0f} | **{peak:.0f}** | {median(waits):.1f} | {quantiles(waits, n=100)[98]:.1f} |"
        )


def _download(server: Server, path: str, headers: Mapping[str, str]) -> tuple[int, list[float]]:
    """Download an export; return its size in bytes, and the latencies of other requests in milliseconds."""
    options = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
    with (
        subprocess.Popen(["curl", "-sSf", *options, server.url + path], stdout=subprocess.PIPE) as curl,
        subprocess.Popen(["wc", "-lc"], stdin=curl.stdout, stdout=subprocess.PIPE, text=True) as count,
    ):
        waits = list(_waits(server, curl))
        lines, size = map(int, count.communicate()[0].split())
    if curl.returncode or lines not in (EXPORTED, EXPORTED + 1):
        raise RuntimeError(f"{path}: {lines} lines, curl says {curl.returncode}")
    return size, waits


def _waits(server: Server, process: subprocess.Popen[bytes]) -> Iterator[float]:
    """Request ``/healthz`` until the process ends; yield the latency of each request in milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    while process.poll() is None:
        started = perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        yield (perf_counter() - started) * 1000
        sleep(0.025)
