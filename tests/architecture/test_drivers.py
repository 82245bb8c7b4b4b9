"""A driver is imported only when its URL asks for it: a cold start does not pay for what is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = {"confluent_kafka", "google", "grpc"}
PROGRAM = """
import asyncio, sys
import pycalc.main
from pycalc.observability.metrics import Metrics
from pycalc.streaming import open_stream

async def main():
    stream = await open_stream(sys.argv[1], Metrics())
    await stream.aclose()

asyncio.run(main())
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("url", "imported"),
    [
        ("memory://", set()),
        ("kafka://127.0.0.1:1/events", {"confluent_kafka"}),
        ("pubsub://my-project/events", {"google", "grpc"}),
    ],
)
def test_a_stream_imports_its_own_driver_only(url: str, imported: set[str]) -> None:
    """The whole application with one stream or another: no other stream's driver comes along."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert DRIVERS & {*done.stdout.split()} == imported
