"""Why a database is not available: for the log and the console, while clients are told only that it is not."""

from __future__ import annotations

from time import monotonic

from sqlalchemy.exc import DBAPIError
from structlog import get_logger

from pycalc.errors import StoreUnavailable

_LOG_SECONDS = 10.0
"""How often errors of one class and one database are logged: in an outage every request meets one."""
_KINDS = 64
_logged: dict[tuple[str, str], float] = {}

_log = get_logger(__name__)


def driver_error(error: Exception) -> BaseException:
    """Return the driver's own error out of SQLAlchemy's."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return error
    return error.orig.__cause__ or error.orig


def unavailable(where: str, error: Exception) -> StoreUnavailable:
    """Return what to raise for a driver's error, with its class and words and the place; log it, now and then."""
    driver = driver_error(error)
    kind, words = type(driver).__name__, " ".join(str(driver).split())
    now = monotonic()
    last = _logged.get((where, kind))
    if last is None or now - last >= _LOG_SECONDS:
        if len(_logged) >= _KINDS:
            _logged.clear()
        _logged[where, kind] = now
        _log.warning("the database is not available", database=where, error=kind, reason=words)
    return StoreUnavailable("The database is not available.", 1, f"{where}: {kind}{': ' if words else ''}{words}")
