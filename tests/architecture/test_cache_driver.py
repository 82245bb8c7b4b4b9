"""Redis' driver is imported only when a URL asks for it: a cold start does not pay for what is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import asyncio, sys
import pycalc.main, pycalc.resources
from pycalc.cache import open_cache
from pycalc.observability.metrics import Metrics

async def main():
    cache = await open_cache(sys.argv[1], Metrics())
    await cache.aclose()

asyncio.run(main())
print(*sorted({"redis", "hiredis"} & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("url", "imported"),
    [
        ("memory://", []),
        ("redis://127.0.0.1:1/0", ["hiredis", "redis"]),
        ("rediss://127.0.0.1:1/0", ["hiredis", "redis"]),
    ],
)
def test_a_cache_imports_its_own_driver_only(url: str, imported: list[str]) -> None:
    """The whole application, with one cache or another."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == imported
