"""A flood of logins by a separate process: ``python -m tests.harness.flood URL`` runs until its stdin ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.harness.waiting import until

# More logins than may wait for a password hash at the same time.
_CONNECTIONS = 60


@contextmanager
def logins(url: str) -> Iterator[Counter[int]]:
    """Flood a service with logins during the ``with`` block; yield a counter of the statuses.

    The block begins once a login has got 503. After the block the counter is complete, and contains at least one 401
    and one 503.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.harness.flood", url]
    statuses: Counter[int] = Counter()
    flood = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert flood.stdout is not None
        assert flood.stdout.readline() == "refused\n"
        yield statuses
    finally:
        told, _ = flood.communicate(timeout=60)
    statuses.update({int(status): count for status, count in json.loads(told).items()})


async def _log_in(client: httpx.AsyncClient, statuses: Counter[int], number: int) -> None:
    while True:
        answer = await client.post("/login", json={"username": f"nobody{number}", "password": "a wrong password"})
        statuses[answer.status_code] += 1
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            if statuses[answer.status_code] == 1:
                print("refused", flush=True)  # noqa: T201  # tells the test that the service refuses logins
            await asyncio.sleep(0.1)  # for a tenth of the time that Retry-After asks for


async def _flood(url: str) -> None:
    statuses: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        tasks = [asyncio.create_task(_log_in(client, statuses, number)) for number in range(_CONNECTIONS)]
        await asyncio.to_thread(sys.stdin.read)
        await until(lambda: httpx.codes.UNAUTHORIZED in statuses, "one login gets 401")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(statuses))  # noqa: T201  # read by the test


if __name__ == "__main__":
    os.nice(15)  # on a real network the attackers run on other machines
    asyncio.run(_flood(sys.argv[1]))
