"""The configuration of a command: settings and logging."""

from __future__ import annotations

import logging
import sys

from pycalc.observability.logging import configure_logging
from pycalc.settings import Settings, read_settings, unknown_settings


def configure(*, warn: bool = True) -> Settings:
    """Configure logging and return the settings; exit if one is invalid, and with ``warn``, warn of unknown ones."""
    try:
        settings = read_settings()
        warnings = unknown_settings() if warn else []
    except ValueError as error:
        raise SystemExit(f"pycalc: {error}") from None
    for warning in warnings:
        sys.stderr.write(f"pycalc: warning: {warning}\n")
    configure_logging(form=settings.log_format)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return settings
