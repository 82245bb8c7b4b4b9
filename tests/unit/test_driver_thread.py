"""The thread for a driver's blocking calls: the process's end does not wait for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import weakref
from threading import Event as Flag

import pytest

from pycalc.streaming.kafka.client import DriverThread
from tests.harness.waiting import until

pytestmark = pytest.mark.anyio

HANGING = """
import asyncio, time
from pycalc.streaming.kafka.client import DriverThread

async def main():
    thread = DriverThread("driver")
    thread.run(time.sleep, 60)
    thread.close()
    print("over", flush=True)

asyncio.run(main())
"""


async def test_calls_are_made_in_order_and_give_what_they_give() -> None:
    """Calls are made in order, also after one that failed, and each caller gets its result or exception."""
    thread = DriverThread("driver")
    assert await thread.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await thread.run(divmod, 7, 0)
    made: list[int] = []
    await asyncio.gather(*(thread.run(made.append, n) for n in range(10)))
    assert made == list(range(10))
    thread.close()


async def test_a_call_that_is_cancelled_in_time_is_not_made() -> None:
    """If a call is cancelled before its turn, it is skipped, and the one behind it is made."""
    thread = DriverThread("driver")
    flag, made = Flag(), list[str]()
    holding = thread.run(flag.wait)
    doomed, last = thread.run(made.append, "doomed"), thread.run(made.append, "last")
    doomed.cancel()
    await asyncio.wait({doomed})
    flag.set()
    await holding
    await last
    assert made == ["last"]
    thread.close()


class Result:
    """A result to which weak references are possible."""


async def test_what_a_call_gave_is_not_kept() -> None:
    """While the thread waits for its next call, it keeps no reference to a result, which may be large."""
    thread = DriverThread("driver")
    result = weakref.ref(await thread.run(Result))
    await until(lambda: result() is None, "the result is not referenced any more")
    thread.close()


async def test_the_thread_ends_after_the_calls_it_has_been_given() -> None:
    """Closing returns at once: calls that were given before are still made, later ones are refused."""
    thread = DriverThread("a thread that ends")
    flag = Flag()
    holding, last = thread.run(flag.wait), thread.run(divmod, 7, 2)
    thread.close()
    with pytest.raises(RuntimeError):
        thread.run(divmod, 7, 2)
    flag.set()
    assert await holding
    assert await last == (3, 1)
    await until(lambda: "a thread that ends" not in [other.name for other in threading.enumerate()], "its end")


def test_a_call_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    """The process ends although a call hangs; a thread of an executor would prevent that."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HANGING], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
