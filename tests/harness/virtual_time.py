"""An event loop in virtual time: long intervals pass at once, and timers fire in their order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from functools import wraps
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
P = ParamSpec("P")


_EARLY_SECONDS = 2e-9  # twice the resolution of the event loop's clock, in seconds


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that advances the loop's clock instead of waiting for a timer."""

    now = 1_000.0
    in_threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the ready events; if there are none and no thread is working, advance the clock to the next timer."""
        if timeout is None or (self.in_threads and timeout > 0):
            return super().select()
        ready = super().select(0)
        if not ready and timeout:
            # The clock goes just beyond the timer. The event loop fires timers a little early, so code that then waits
            # for the rest of its interval would otherwise wait without end.
            self.now += timeout + _EARLY_SECONDS
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits for a timer: if nothing else is ready, its clock jumps to the next timer.

    Work in the loop's threads takes no virtual time. Sockets and processes are unsuitable, because they take real time,
    which does not advance the clock.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._jumping.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call a function in a thread; the virtual clock stands still until it returns."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.in_threads += 1
        future.add_done_callback(self._returned)
        return future

    async def shutdown_default_executor(self, *_: object, **__: object) -> None:
        """Wait for the threads to end, without a timeout, because it would expire at once in virtual time."""
        await super().shutdown_default_executor()

    def _returned(self, future: object) -> None:
        self._jumping.in_threads -= 1


def now() -> float:
    """Return the running loop's time; tests pass this function to services as their clock."""
    return asyncio.get_running_loop().time()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an asynchronous test run in its own event loop with virtual time."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
