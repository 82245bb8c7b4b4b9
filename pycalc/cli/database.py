"""Database commands: ``pycalc migrate``, ``pycalc admin create``, ``pycalc history prune`` and ``republish``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from getpass import getpass
from pathlib import Path

from pydantic import ValidationError

from pycalc.cli.configuration import configure
from pycalc.db import migrate_database, open_database
from pycalc.db.base import Database
from pycalc.db.history import SqlHistoryStore
from pycalc.db.outbox import SqlOutboxStore
from pycalc.db.roles import api_role, consumer_role
from pycalc.files import readable_file
from pycalc.models.auth import Registration, Role
from pycalc.models.formats import parse_age
from pycalc.resources.accounts import open_accounts
from pycalc.services.events.outbox import AGE
from pycalc.services.events.outbox import republish as republish_events
from pycalc.services.history.retention import prune as prune_history
from pycalc.settings import sentence_of


def migrate() -> None:
    """Create the database's tables or upgrade them, and give the configured roles their rights on the tables."""
    settings = configure()
    written = (settings.database_api_role, api_role), (settings.database_consumer_role, consumer_role)
    roles = [parse(setting.get_secret_value()) for setting, parse in written if setting.get_secret_value()]
    asyncio.run(migrate_database(settings.database, roles))
    print("the database is up to date")  # noqa: T201  # for the person at the console


def create_admin(username: str, email: str, password_file: Path | None) -> None:
    """Create an admin with the password in the first line of a file, or else of standard input.

    At a terminal, the user types the password twice.
    """
    settings = configure()
    try:
        password = _password(password_file)
    except UnicodeDecodeError:  # its message shows a byte of the password
        raise ValueError(f"{password_file or 'standard input'} is not valid UTF-8: save it as UTF-8.") from None
    try:
        registration = Registration(
            username=username, email=email, password=password, confirm_password=None, role=Role.ADMIN
        )
    except ValidationError as error:
        raise ValueError(sentence_of(error)) from None

    async def create() -> None:
        async with open_accounts(settings) as accounts:
            await accounts.create_admin(registration)

    asyncio.run(create())
    print(f"{username} is an admin")  # noqa: T201  # for the person at the console


def _password(file: Path | None) -> str:
    if file is not None:
        with readable_file("--password-file", str(file)):
            return file.read_text("utf-8-sig").partition("\n")[0].removesuffix("\r")
    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    try:
        password, again = getpass("Password: "), getpass("Again: ")
    except EOFError:
        raise ValueError("no password was typed") from None
    if again != password:
        raise ValueError("the passwords are not the same")
    return password


def _total(work: Callable[[Database], AsyncIterator[int]]) -> int:
    """Return the sum of the numbers that ``work`` yields for the configured database."""
    settings = configure()

    async def total() -> int:
        async with aclosing(await open_database(settings.database)) as database:
            return sum([number async for number in work(database)])

    return asyncio.run(total())


def prune(older_than: str) -> None:
    """Delete the calculations older than an age such as 365d, except those with unpublished events or dead letters."""
    age = parse_age(older_than)
    deleted = _total(lambda database: prune_history(SqlHistoryStore(database), age))
    print(f"{deleted} calculations older than {older_than} were deleted")  # noqa: T201  # for the person at the console


def republish() -> None:
    """Put events of the last 13 days that were not counted back into the outbox, unless they are dead letters.

    An older event might be counted twice, because the database forgets the ids of counted events after 14 days.
    """
    added = _total(lambda database: republish_events(SqlOutboxStore(database)))
    print(f"{added} events of the last {AGE.days} days will be published again")  # noqa: T201  # for the person there
