"""Details of database errors, for the log and the console; HTTP clients see only a general message."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError
from structlog import get_logger

from pycalc.errors import OutcomeUnknown, StoreUnavailable

_log = get_logger(__name__)


def driver_error(error: BaseException | None) -> BaseException | None:
    """Return the driver's error that an SQLAlchemy error wraps, or else ``error`` itself."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return error
    return error.orig.__cause__ or error.orig


def unavailable(location: str, error: Exception) -> StoreUnavailable:
    """Log a driver's error. Return a StoreUnavailable with the location, class and message of that error."""
    driver = driver_error(error)
    kind, message = type(driver).__name__, " ".join(str(driver).split())
    _log.warning("the database is not available", database=location, error=kind, reason=message)
    detail = f"{location}: {kind}{': ' if message else ''}{message}"
    return StoreUnavailable("The database is not available.", 1, detail)


def outcome_unknown(reason: str = "") -> OutcomeUnknown:
    """Return the error for a change that may be stored; ``reason`` is for logs."""
    detail = "The database has not confirmed the change: it is not known whether the change was stored. "
    return OutcomeUnknown(f"{detail}Check this before you repeat the request.", 1, reason)
