"""Computation: small results at once, the rest in killable worker processes under a deadline (ADR 9)."""

from __future__ import annotations

import asyncio
import mmap
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_process
from structlog import get_logger

from pycalc.errors import ComputationTimeout, Overloaded, Unavailable, VerificationFailed
from pycalc.observability.metrics import Metrics
from pycalc.services.admission import Admission
from pycalc.services.operations.base import Estimate, Operation
from pycalc.services.worker import Outcome, execute, execute_limited

INLINE_SECONDS = 0.0003
"""Estimated cost up to which a computation runs on the event loop: about what handing it to a worker costs."""

_log = get_logger(__name__)


class Computer:
    """Computes and verifies results, bounded in processes, in waiting requests and in time."""

    def __init__(self, metrics: Metrics, *, workers: int, timeout: float) -> None:
        self._metrics = metrics
        self._timeout = timeout
        self._admission = Admission(workers, max_wait=timeout)
        self._limiter = anyio.CapacityLimiter(workers)
        self._directory = Path(tempfile.mkdtemp(prefix="pycalc-"))
        metrics.compute_running.set_function(lambda: self._admission.running)
        metrics.compute_waiting.set_function(lambda: self._admission.waiting)

    async def compute(
        self, operation: Operation[Any], args: Any, precision: int, estimate: Estimate, user: bytes
    ) -> tuple[bytes | mmap.mmap, Outcome]:
        """Return a verified result's text and the facts about it.

        Raises ComputationTimeout at the deadline, Overloaded when too much is waiting, Unavailable when the worker
        died, VerificationFailed when the result did not agree with its residue. Cancellation kills the computation.
        """
        started = perf_counter()
        try:
            if estimate.seconds <= INLINE_SECONDS:
                outcome = execute(operation.name, args, precision)
                text: bytes | mmap.mmap | None = outcome.text
            else:
                async with self._admission.slot(user):
                    text, outcome = await self._in_worker(operation.name, args, precision)
        except VerificationFailed as error:
            self._metrics.verification_failures.inc()
            _log.error("verification failed", operation=operation.name, detail=str(error))
            raise
        except Overloaded:
            self._metrics.compute_refused.inc()
            raise
        self._metrics.compute_seconds.labels(operation.name).observe(perf_counter() - started)
        assert text is not None  # noqa: S101  # execute without a file always returns the text
        return text, outcome

    async def aclose(self) -> None:
        """Remove what workers left; their processes end with the event loop."""
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _in_worker(self, name: str, args: Any, precision: int) -> tuple[bytes | mmap.mmap, Outcome]:
        file = self._directory / uuid4().hex
        try:
            with anyio.fail_after(self._timeout):
                outcome = await anyio.to_process.run_sync(
                    execute_limited,
                    self._timeout,
                    name,
                    args,
                    precision,
                    str(file),
                    cancellable=True,
                    limiter=self._limiter,
                )
            return (_mapped(file) if outcome.text is None else outcome.text), outcome
        except TimeoutError:
            raise ComputationTimeout(f"The computation was stopped after {self._timeout:g} seconds.") from None
        except anyio.BrokenWorkerProcess as error:
            self._metrics.workers_lost.inc()
            _log.warning("a worker process died", operation=name)
            raise Unavailable("The computation was interrupted.") from error
        finally:
            with suppress(FileNotFoundError):
                file.unlink()


def _mapped(file: Path) -> mmap.mmap:
    """Map a result's file: its pages go straight from the worker to the socket."""
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
