"""The yardstick: a bare FastAPI route, and nothing else."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/hello/{n}")
async def hello(n: int) -> dict[str, int]:
    """Return what was sent."""
    return {"hello": n}
