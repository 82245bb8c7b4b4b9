"""``pycalc serve``: the HTTP service, in this process or in several."""

from __future__ import annotations

import os
import signal


def serve(listener: int | None) -> None:
    """Run the HTTP service until SIGTERM or SIGINT; ``listener`` is the descriptor of a socket from a supervisor."""
    # Until the server handles signals, during the imports too, one ends the process. Process 1 of a container has no
    # default action for them.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))  # a supervisor has blocked them

    from pycalc.cli.configuration import configure

    settings = configure(warn=listener is None)  # a supervisor has already warned
    if settings.workers > 1 and listener is None:
        from pycalc.server.supervisor import supervise

        supervise(settings)
    else:
        import gc

        gc.disable()  # hardly any object of a start is garbage; `listen` enables garbage collection again
        from pycalc.server.serve import serve

        serve(settings, listener)
