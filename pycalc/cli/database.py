"""Database commands: ``pycalc migrate``, ``pycalc admin create`` and ``pycalc history prune``."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from getpass import getpass
from typing import Any

from pydantic import ValidationError

from pycalc.db import migrate_database, open_database
from pycalc.db.history import SqlHistoryStore
from pycalc.models.auth import Registration, Role
from pycalc.models.times import parse_age
from pycalc.observability.logging import configure_logging
from pycalc.resources.accounts import open_accounts
from pycalc.services.history.retention import prune as prune_history
from pycalc.settings import Settings, sentence_of


def migrate(settings: Settings) -> None:
    """Create or upgrade the tables."""

    async def work() -> str:
        await migrate_database(settings.database)
        return "the database is up to date"

    _run(settings, work)


def create_admin(settings: Settings, username: str, email: str) -> None:
    """Create an admin, with a password from the terminal or from standard input."""

    async def work() -> str:
        async with open_accounts(settings) as accounts:
            await accounts.create_admin(registration)
        return f"{username} is an admin"

    try:
        registration = Registration(
            username=username, email=email, password=_read_password(), confirm_password=None, role=Role.ADMIN
        )
    except ValidationError as error:
        raise SystemExit(f"pycalc: {sentence_of(error)}") from None
    _run(settings, work)


def prune(settings: Settings, older_than: str) -> None:
    """Delete the calculations that are older than an age such as 365d."""

    async def work() -> str:
        age = parse_age(older_than)
        async with aclosing(await open_database(settings.database)) as database:
            pruned = sum([gone async for gone in prune_history(SqlHistoryStore(database), age)])
        return f"{pruned} calculations older than {older_than} were deleted"

    _run(settings, work)


def _run(settings: Settings, work: Callable[[], Coroutine[Any, Any, str]]) -> None:
    """Run the work and print its result."""
    configure_logging(form=settings.log_format)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    print(asyncio.run(work()))  # noqa: T201  # for the person at the console


def _read_password() -> str:
    """Return a password typed twice at the terminal, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    password = getpass("Password: ")
    if getpass("Again: ") != password:
        raise SystemExit("pycalc: the passwords are not the same")
    return password
