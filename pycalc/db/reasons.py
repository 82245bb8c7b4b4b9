"""Error details of an unavailable database, for the log and the console; HTTP clients see only a general message."""

from __future__ import annotations

from time import monotonic

from sqlalchemy.exc import DBAPIError
from structlog import get_logger

from pycalc.errors import StoreUnavailable

_LOG_SECONDS = 10.0  # at most one line in this time for each class of error and database: an outage fails every request
_KINDS = 64
_logged: dict[tuple[str, str], float] = {}

_log = get_logger(__name__)


def driver_error(error: Exception) -> BaseException:
    """Return the driver's error that an SQLAlchemy error wraps, or else the error itself."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return error
    return error.orig.__cause__ or error.orig


def unavailable(location: str, error: Exception) -> StoreUnavailable:
    """Return StoreUnavailable with the location, class and message of a driver's error; log it at a limited rate."""
    driver = driver_error(error)
    kind, message = type(driver).__name__, " ".join(str(driver).split())
    now = monotonic()
    last = _logged.get((location, kind))
    if last is None or now - last >= _LOG_SECONDS:
        if len(_logged) >= _KINDS:
            _logged.clear()
        _logged[location, kind] = now
        _log.warning("the database is not available", database=location, error=kind, reason=message)
    detail = f"{location}: {kind}{': ' if message else ''}{message}"
    return StoreUnavailable("The database is not available.", 1, detail)
