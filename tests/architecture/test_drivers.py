"""Imports of drivers: each is imported only when a URL requires it, so that a cold start is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = {"confluent_kafka", "google", "grpc", "redis", "hiredis"}
PROGRAM = """
import asyncio, json, os, sys
import pycalc.main
from pycalc.cache import open_cache
from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream

async def main(kind, url):
    opened = await (open_cache if kind == "cache" else open_stream)(url, Metrics())
    await opened.aclose()

for kind, url in json.loads(sys.argv[1]):
    if os.fork() == 0:
        asyncio.run(main(kind, url))
        print(json.dumps([kind, url, *sorted({name.partition(".")[0] for name in sys.modules})]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, url
"""
IMPORTED = {
    ("stream", "memory://"): set[str](),
    ("stream", "kafka://127.0.0.1:1/events"): {"confluent_kafka"},
    ("stream", "pubsub://my-project/events"): {"google", "grpc"},
    ("cache", "memory://"): set[str](),
    ("cache", "redis://127.0.0.1:1/0"): {"hiredis", "redis"},
    ("cache", "rediss://127.0.0.1:1/0"): {"hiredis", "redis"},
}


def test_a_url_imports_its_own_driver_only() -> None:
    """Opening a stream or cache imports the driver that its URL needs, and no other driver.

    Each URL is opened in its own forked process, so that the application is imported only once.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps([*IMPORTED])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))  # other lines are the log
    modules = {(kind, url): DRIVERS & {*names} for kind, url, *names in told}
    assert modules == IMPORTED


EMBEDDED = """
import asyncio, json, os, sys
from pycalc.main import create_app
from pycalc.settings import Settings

async def main():
    app = create_app(Settings())
    async with app.router.lifespan_context(app):
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))

if os.fork() == 0:  # makes the database
    asyncio.run(main())
    os._exit(0)
assert os.wait()[1] == 0
asyncio.run(main())
"""
# Drivers of servers that the default service does not use, and the MCP SDK, which the first MCP message imports.
SERVERS = DRIVERS | {"asyncpg", "requests", "aiohttp", "mcp", "mcp_types"}
# Modules that are not needed for a start with an up-to-date database.
NEEDED_LATER = {"alembic", "flint", "httpx"}


def test_the_embedded_service_starts_with_what_the_first_request_needs(tmp_path: Path) -> None:
    """With an up-to-date SQLite file, a start imports no Alembic, FLINT, HTTPX, or driver of a server such as Redis."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EMBEDDED],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, told = (line for line in done.stdout.splitlines() if line.startswith("["))  # other lines are the log
    assert (SERVERS | NEEDED_LATER) & {*json.loads(told)} == set()


WORKER = "import sys, pycalc.services.compute.worker; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def test_a_worker_process_imports_no_framework() -> None:
    """A worker process imports neither the web framework nor libraries for databases, metrics or logging."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WORKER], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    heavy = SERVERS | {
        "fastapi",
        "starlette",
        "pydantic",
        "sqlalchemy",
        "prometheus_client",
        "structlog",
        "opentelemetry",
    }
    assert heavy & {*done.stdout.split()} == set()


BACKGROUND = "import sys, pycalc.cli.workers; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def test_the_relay_and_the_consumer_import_nothing_that_serves() -> None:
    """The relay and the consumer import no library of the web server, password hashing or arithmetic."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BACKGROUND],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {"fastapi", "starlette", "granian", "bcrypt", "gmpy2"} & {*done.stdout.split()} == set()
