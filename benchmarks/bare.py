"""Bare FastAPI routes, with which the benchmarks compare the service."""

from __future__ import annotations

from functools import cache

import gmpy2
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/hello/{n}")
async def hello(n: int) -> dict[str, int]:
    """Return the operand."""
    return {"hello": n}


@cache
def _digits(n: int) -> str:
    digits: str = gmpy2.fib(n).digits()
    return digits


@app.get("/fibonacci/{n}")
async def fibonacci(n: int) -> PlainTextResponse:
    """Compute a Fibonacci number and return its digits."""
    return PlainTextResponse(gmpy2.fib(n).digits())


@app.get("/text/{n}")
async def text(n: int) -> PlainTextResponse:
    """Return the digits of a Fibonacci number, computed only at the first request for this number."""
    return PlainTextResponse(_digits(n))
