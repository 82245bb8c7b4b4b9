"""A benchmark of how long one request holds the event loop."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from time import thread_time
from typing import Any

import httpx
from fastapi import FastAPI

from pycalc.main import create_app
from pycalc.settings import Settings
from tests.harness.accounts import PASSWORD, new_name, registration
from tests.harness.operands import Case, expensive_cases

TARGET_MS = 20
BATCHED = 40
PULSE_SECONDS = 0.0005


class Pulse:
    """A callback that runs again and again on the event loop and measures the processor time between its calls.

    Processor time is measured, because it does not depend on other processes.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = thread_time()
        self._longest = 0.0
        self._loop.call_soon(self._beat)

    def _beat(self) -> None:
        now = thread_time()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        self._loop.call_later(PULSE_SECONDS, self._beat)

    async def longest(self) -> float:
        """Return the longest time between two calls since the last measurement, in seconds."""
        await asyncio.sleep(2 * PULSE_SECONDS)
        longest, self._longest = self._longest, 0.0
        return longest


def parameters(case: Case) -> dict[str, str]:
    """Return the query parameters that express a case's options."""
    precision, modulus, summary, _ = case.options
    given = {"precision": str(precision)} if precision != 50 else {}
    if modulus is not None:
        given["mod"] = modulus
    if summary:
        given["view"] = "summary"
    return given


def batch_of(case: Case) -> dict[str, Any]:
    """Return a batch that repeats a case BATCHED times, or fewer times if the request body would get too long."""
    names = {"pow": ("x", "y")}.get(case.operation, ("n",))
    given = {**dict(zip(names, case.literals, strict=True)), **parameters(case)}
    size = sum(map(len, given.values())) + 100
    count = min(BATCHED, 1_000_000 // size)
    return {"operations": [{"operation": case.operation, "input": given}] * count}


def _client(app: FastAPI, state: Any) -> httpx.AsyncClient:
    async def entry(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = state
        await app(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(entry), base_url="http://pycalc.test", timeout=300)


async def _measure() -> None:
    pulse = Pulse()
    with tempfile.TemporaryDirectory() as data:
        app = create_app(Settings(data_dir=Path(data), compute_workers=2, cache_url="memory://?max_bytes=1"))
        async with app.router.lifespan_context(app) as state, _client(app, state) as client:
            name = new_name()
            await client.post("/register", json=registration(name))
            session = (await client.post("/login", json={"username": name, "password": PASSWORD})).json()
            client.headers["Authorization"] = f"Bearer {session['access_token']}"
            for _ in range(3):
                await asyncio.gather(*(client.get(f"/factorial/{n}?mod=101") for n in range(10)))
            for case in expensive_cases():
                path = "/".join(["", case.operation, *case.literals])
                await pulse.longest()
                one = await client.get(path, params=parameters(case))
                alone = await pulse.longest()
                body = json.dumps(batch_of(case))
                await pulse.longest()
                many = await client.post("/batch", content=body, headers={"Content-Type": "application/json"})
                batched = await pulse.longest()
                size = sum(map(len, case.literals))
                print(f"| {case.operation} | {case.why} | {size} | {one.status_code} | {alone * 1e3:.1f}", end=" ")
                print(f"| {many.status_code} | {batched * 1e3:.1f} |", flush=True)


def event_loop() -> None:
    """Print the longest time that one callback holds the event loop, for each expensive calculation."""
    print(f"\n## The longest hold of the event loop, ms of processor time (target {TARGET_MS} ms)\n")
    print("| operation | expensive by | characters | status | ms | status | ms in a batch |")
    print("|---|---|---|---|---|---|---|")
    asyncio.run(_measure())
