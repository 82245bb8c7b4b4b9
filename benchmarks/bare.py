"""A bare FastAPI route, the yardstick of the benchmarks."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/hello/{n}")
async def hello(n: int) -> dict[str, int]:
    """Return the operand."""
    return {"hello": n}
