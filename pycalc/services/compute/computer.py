"""Computation of results: cheap ones on the event loop, others in worker processes, which are killed at a deadline."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic, perf_counter
from typing import TypeVar

import anyio
import anyio.to_process
from structlog import get_logger

from pycalc.errors import ComputationTimeout, Overloaded, PycalcError, Unavailable, VerificationFailed
from pycalc.models.auth import Principal
from pycalc.models.results import Facts
from pycalc.observability.metrics import CalculationMetrics
from pycalc.observability.tracing import NO_TRACER, Tracer
from pycalc.services.compute.admission import Admission
from pycalc.services.compute.loop_scheduler import LoopScheduler
from pycalc.services.compute.plan import PLANNING_MEMORY, Plan
from pycalc.services.compute.worker import OUT_OF_MEMORY, be_ready, execute, limited, timed
from pycalc.services.limits.quotas import WindowQuota
from pycalc.services.operations import CALCULATIONS

# Computations up to this cost run on the event loop, because sending them to a worker costs about as much.
INLINE_SECONDS = 0.0003
_SHORT_SECONDS = 0.00005  # computations up to this cost run without waiting for a time slice
# A task without partial results is refused above this many deadlines. Estimates are right within a factor of two.
_MOST_DEADLINES = 4
LONG_BYTES = 1024 * 1024  # longer results are mapped into memory, shorter results are copied
_MOST_FOUND = 16 * 1024  # the most bytes of a partial result that are read at the deadline
_TRUSTED_SECONDS = 60.0  # a worker that was idle for longer may be gone: anyio ends idle workers after five minutes

T = TypeVar("T")

_log = get_logger(__name__)


class Computer:
    """The service that computes results, with limits on worker processes, waiting requests, time and memory."""

    def __init__(
        self,
        metrics: CalculationMetrics,
        *,
        workers: int,
        timeout: float,
        worker_memory: int,
        quota: WindowQuota,
        tracer: Tracer = NO_TRACER,
        proc: Path = Path("/proc"),
    ) -> None:
        """Limit each computation in a worker to ``timeout`` seconds, and each caller's computing time to ``quota``.

        Up to ``workers`` processes compute at the same time, each with an equal part of ``worker_memory`` bytes. Raises
        OSError if the ``/proc`` file system is not mounted at ``proc``.
        """
        self._descriptors = proc / str(os.getpid()) / "fd"  # workers open the files of this process by these paths
        if not self._descriptors.is_dir():
            raise OSError(f"worker processes hand results over through {proc}, which is not mounted here")
        self._metrics = metrics
        self._tracer = tracer
        self.quota = quota
        self.timeout = timeout
        self._most_memory = worker_memory // workers
        self.scheduler = LoopScheduler()
        self.admission = Admission(metrics, workers, max_wait=timeout)
        self._limiter = anyio.CapacityLimiter(workers)
        self._idle: list[float] = []
        self._abandoned = False
        self._limits: set[asyncio.Timeout] = set()
        metrics.compute_running.set_function(lambda: self.admission.running)
        metrics.compute_waiting.set_function(lambda: self.admission.waiting)

    async def compute(self, plan: Plan, caller: Principal) -> tuple[bytes | mmap.mmap, Facts]:
        """Compute and verify a result as ``execute`` does. Return its text, empty for a summary, and its facts.

        Raises the errors of ``execute``, and:
        - QuotaExceeded if too little of the caller's quota is left;
        - Overloaded if the queue is full, if the wait is too long, if the caller's other computations may need the rest
          of the quota, or if no file can be made for the result;
        - Unavailable if no worker starts, if the worker dies, or at shutdown;
        - ComputationTimeout at the deadline or at the limit of memory, or at once if the computation would take far
          longer and the operation has no partial results.

        Cancellation kills the worker that computes the result.
        """
        started = perf_counter()
        task = plan.task
        try:
            if plan.seconds <= INLINE_SECONDS:
                if plan.seconds > _SHORT_SECONDS:
                    await self.scheduler.time_slice(plan.seconds)
                self.quota.require(caller, plan.seconds)
                began = perf_counter()
                inline, facts = execute(task)
                self.quota.charge(caller, perf_counter() - began)
                text: bytes | mmap.mmap = inline or b""
            else:
                with self._tracer.span("compute", **{"pycalc.operation": task.operation}):
                    text, facts = await self._dispatch(plan, caller)
        except VerificationFailed as error:
            self._metrics.verification_failures.inc()
            _log.error("verification failed", operation=task.operation, detail=str(error))
            raise
        self._metrics.compute_seconds.labels(task.operation).observe(perf_counter() - started)
        return text, facts

    async def _dispatch(self, plan: Plan, caller: Principal) -> tuple[bytes | mmap.mmap, Facts]:
        task = plan.task
        in_steps = CALCULATIONS[task.operation].steps(task.args, task.precision) is not None
        if plan.seconds > _MOST_DEADLINES * self.timeout and not in_steps:
            raise ComputationTimeout(f"This would take far longer than {self.timeout:g} s: ask for smaller operands.")
        async with self._worker_slot(caller, min(plan.seconds, self.timeout), plan.key) as result_fd:
            file = str(self._descriptors / str(result_fd))
            returned = await self._in_worker(plan.memory, result_fd, timed, execute, task, file)
            (text, facts), began_ns, ended_ns, process = returned
            self._tracer.record("work", began_ns, ended_ns, None, **{"process.pid": process})
            if text is not None:
                return text, facts
            size = os.fstat(result_fd).st_size
            if size <= LONG_BYTES:
                return os.pread(result_fd, size, 0), facts
            # A map needs no copy, but keeps a file descriptor open. So the many short results in the cache are copied.
            return mmap.mmap(result_fd, size, access=mmap.ACCESS_READ), facts

    @asynccontextmanager
    async def _worker_slot(self, caller: Principal, seconds: float, key: str | None = None) -> AsyncIterator[int]:
        """Return a context that holds a slot. Its value is the descriptor of a new in-memory file for the result.

        The caller's quota is charged for the time in the context. The estimate ``seconds`` is reserved, so that a
        caller's concurrent computations stay within the quota. ``key`` is as for ``Admission.slot``.
        """
        self.quota.require(caller, seconds)
        async with self._until_abandoned(), self.admission.slot(caller.user_id, key):
            with self.quota.reserved(caller, seconds):
                try:
                    result_fd = os.memfd_create("pycalc-result")  # a file on disk would delay the syncs of other files
                except OSError as error:
                    self._metrics.compute_refused.labels("memory").inc()
                    raise Overloaded("There is no memory for a long result now; retry in 5 s.", 5) from error
                began = perf_counter()
                try:
                    yield result_fd
                finally:
                    self.quota.charge(caller, perf_counter() - began)
                    os.close(result_fd)

    async def _ready_worker(self) -> None:
        """Start a worker, unless one has become idle in the last minute. Raises Unavailable if the start fails."""
        if self._idle and self._idle.pop() > monotonic() - _TRUSTED_SECONDS:
            return
        self._idle.clear()
        for retries in (1, 0):  # anyio may choose an idle worker that has just died
            starting = asyncio.ensure_future(anyio.to_process.run_sync(be_ready, limiter=self._limiter))
            try:
                # If the caller is cancelled, the start goes on: anyio would lose a process that is half started.
                await asyncio.shield(starting)  # callers leave by Task.cancel, which anyio's shields don't stop
            except asyncio.CancelledError:
                # Retrieve the exception of a start whose caller is gone, so that asyncio does not log it.
                starting.add_done_callback(lambda started: started.cancelled() or started.exception())
                raise
            except (anyio.BrokenWorkerProcess, OSError) as error:
                if not retries:
                    _log.warning("a worker process did not start", error=str(error))
                    raise Unavailable("The computation could not be started; retry in 1 s.") from error
            else:
                return

    async def call(self, caller: Principal, function: Callable[..., T], *args: object) -> T:
        """Call a function in a worker process, charge the caller's quota, and return the function's result.

        The function may use up to PLANNING_MEMORY bytes. Raises its errors, and those of ``compute``.
        """
        async with self._worker_slot(caller, 0.0) as result_fd:
            return await self._in_worker(PLANNING_MEMORY, result_fd, function, *args)

    def abandon(self) -> None:
        """Stop the computations in workers and refuse new ones, with Unavailable. Call this at shutdown."""
        self._abandoned = True
        for limit in self._limits:
            limit.reschedule(0)

    @asynccontextmanager
    async def _until_abandoned(self) -> AsyncIterator[None]:
        """Return a context that raises Unavailable when ``abandon`` is called, or at once if it was called already."""
        ending = Unavailable("The service is shutting down; retry in 1 s.")
        if self._abandoned:
            raise ending
        try:
            async with asyncio.timeout(None) as limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            raise ending from None

    async def _in_worker(self, most_bytes: int, result_fd: int, function: Callable[..., T], *args: object) -> T:
        """Call a function in a worker process, which is killed at the deadline or by cancellation.

        If the function needs more than ``most_bytes`` of memory, or than one worker may take, the worker writes
        OUT_OF_MEMORY to the file ``result_fd`` and aborts. At the deadline, the file may have a partial result.
        """
        most_bytes = min(most_bytes, self._most_memory)
        await self._ready_worker()
        try:
            with anyio.fail_after(self.timeout):
                limits = (self.timeout, most_bytes, str(self._descriptors / str(result_fd)))
                returned: T = await self._killable(limited, *limits, function, *args)
        except TimeoutError:
            detail = f"This was stopped after {self.timeout:g} s: ask for smaller operands."
            found = os.pread(result_fd, _MOST_FOUND, 0)
            # Only a complete list is a partial result: the file may also hold half of one, or another operation's text.
            is_list = found.startswith(b"[") and found.endswith(b"]")
            raise ComputationTimeout(detail, found.decode() if is_list else None) from None
        except anyio.BrokenWorkerProcess as error:
            if os.pread(result_fd, len(OUT_OF_MEMORY), 0) == OUT_OF_MEMORY:
                self._metrics.workers_out_of_memory.inc()
                _log.warning("a worker process needed more memory than it may take", megabytes=most_bytes >> 20)
                raise ComputationTimeout("This needs too much memory: ask for smaller operands.") from None
            self._metrics.workers_lost.inc()
            _log.warning("a worker process died")
            raise Unavailable("The computation was interrupted; retry in 1 s.") from error
        except PycalcError:
            self._idle.append(monotonic())  # the function raised the error, so its worker is alive
            raise
        self._idle.append(monotonic())
        return returned

    async def _killable(self, function: Callable[..., T], *args: object) -> T:
        """Call a function in a worker process. At a cancellation, wait until the process is killed and reaped."""
        working = asyncio.ensure_future(
            anyio.to_process.run_sync(function, *args, cancellable=True, limiter=self._limiter)
        )
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            working.cancel()
            # The caller may be cancelled again by Task.cancel, from which anyio's shields don't protect.
            with anyio.CancelScope(shield=True):
                while not working.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait({working})
            if not working.cancelled():
                working.exception()  # asyncio logs an exception that nobody retrieves
            raise
