"""``pycalc mcp``: tools for language models (Model Context Protocol) over standard input and output."""

from __future__ import annotations

import asyncio
import logging
import signal
from importlib.util import find_spec

from pycalc.observability.logging import configure_logging
from pycalc.settings import read_settings


def serve() -> None:
    """Serve the tools until SIGINT or the end of standard input."""
    if find_spec("mcp") is None:
        raise ValueError("pycalc mcp needs the packages of the extra mcp: pip install '.[mcp]' in the repository")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once; the kernel then ends the worker processes
    settings = read_settings()
    configure_logging(logging.WARNING)

    from pycalc.mcp.local import LocalBackend
    from pycalc.mcp.server import serve_stdio
    from pycalc.observability.metrics import Metrics
    from pycalc.services.compute.computer import Computer
    from pycalc.services.limits.quotas import compute_quota

    async def run() -> None:
        metrics = Metrics()
        quota = compute_quota(metrics)
        workers, timeout, memory = settings.compute_workers, settings.compute_timeout, settings.compute_memory
        computer = Computer(metrics, workers=workers, timeout=timeout, worker_memory=memory, quota=quota)
        await serve_stdio(LocalBackend(computer, settings.max_digits), settings.mcp_inline_digits)

    asyncio.run(run())
