"""``pycalc serve``: the HTTP service, in this process or in several."""

from __future__ import annotations

import os
import signal


def serve(listener: int | None) -> None:
    """Run the HTTP service until SIGTERM or SIGINT.

    ``listener`` is the descriptor of the bound socket that a supervisor shares, or None without a supervisor.
    """
    # Until the server handles signals, a signal ends the process, even during the imports. The default action would
    # not do this in process 1 of a container.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))  # a supervisor blocks them

    from pycalc.cli.configuration import configure

    settings = configure(warn=listener is None)  # a supervisor has already warned
    if settings.workers > 1 and listener is None:
        from pycalc.server.supervisor import supervise

        supervise(settings)
    else:
        import gc

        gc.disable()  # start-up makes hardly any garbage; `listen` enables garbage collection again
        from pycalc.server.serve import serve

        serve(settings, listener)
