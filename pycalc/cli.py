"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

    from pycalc.models.auth import Registration
    from pycalc.settings import Settings


def _settings_help() -> str:
    """Return the list of settings with their defaults."""
    from pycalc.settings import Settings

    lines = ["settings (environment variables, or lines of .env):"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"  PYCALC_{name.upper():<22} {field.description} [{'' if default in ((), None) else default}]")
    return "\n".join(lines)


def _settings() -> Settings:
    """Return the settings; a bad one ends the program with a sentence."""
    from pydantic import ValidationError

    from pycalc.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        raise SystemExit(f"pycalc: bad settings: {_told(error)}") from None


def _told(error: ValidationError) -> str:
    """Return what was not valid, and nothing of the values."""
    return "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors())


def _serve(listener: int | None) -> int:
    import os
    import signal

    for ending in (signal.SIGTERM, signal.SIGINT):  # while it starts; process 1 of a container has no default for them
        signal.signal(ending, lambda number, _: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))  # a supervisor's are blocked
    settings = _settings()
    if settings.workers > 1 and listener is None:
        from pycalc.supervisor import supervise

        return supervise(settings)
    from pycalc.server import serve

    return serve(settings, listener)


def _relay() -> int:
    from pycalc.signals import block

    block()
    from pycalc.background import relay

    return relay(_settings())


def _consume() -> int:
    from pycalc.signals import block

    block()
    from pycalc.background import consume

    return consume(_settings())


def _dead_letters(act: str, number: int | None = None) -> int:
    from pycalc import letters

    url = _settings().database
    if number is None:
        return letters.show(url)
    return letters.requeue(url, number) if act == "requeue" else letters.discard(url, number)


def _migrate() -> int:
    import asyncio

    from pycalc.db import migrate_database
    from pycalc.errors import PycalcError

    try:
        asyncio.run(migrate_database(_settings().database))
    except (PycalcError, ValueError) as error:
        raise SystemExit(f"pycalc: {error}") from None
    print("the database is up to date")
    return 0


def _password() -> str:
    """Return the new admin's password: typed twice unseen at a terminal, else the first line of what is piped in."""
    from getpass import getpass

    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    password = getpass("Password: ")
    if getpass("Again: ") != password:
        raise SystemExit("pycalc: the passwords are not the same")
    return password


def _registration(username: str, email: str) -> Registration:
    """Return the registration of an admin; what registration refuses ends the program with a sentence."""
    from pydantic import ValidationError

    from pycalc.models.auth import Registration, Role

    try:
        return Registration(
            username=username, email=email, password=_password(), confirm_password=None, role=Role.ADMIN
        )
    except ValidationError as error:
        raise SystemExit(f"pycalc: {_told(error)}") from None


def _create_admin(username: str, email: str) -> int:
    import asyncio
    import logging

    from pycalc.errors import PycalcError
    from pycalc.observability.logging import configure_logging
    from pycalc.resources import open_accounts

    async def create(settings: Settings, registration: Registration) -> None:
        async with open_accounts(settings) as accounts:
            await accounts.create_admin(registration)

    settings = _settings()
    configure_logging(form=settings.log_format)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        asyncio.run(create(settings, _registration(username, email)))
    except (PycalcError, OSError, ValueError) as error:
        raise SystemExit(f"pycalc: {error}") from None
    print(f"{username} is an admin")
    return 0


def _prune(older_than: str) -> int:
    import asyncio
    from datetime import timedelta

    from pycalc.db import open_database
    from pycalc.db.history import SqlHistoryStore
    from pycalc.errors import PycalcError
    from pycalc.services.retention import parse_age, prune

    async def prune_database(url: str, age: timedelta) -> int:
        database = await open_database(url)
        try:
            return sum([gone async for gone in prune(SqlHistoryStore(database), age)])
        finally:
            await database.aclose()

    try:
        pruned = asyncio.run(prune_database(_settings().database, parse_age(older_than)))
    except (PycalcError, ValueError) as error:
        raise SystemExit(f"pycalc: {error}") from None
    print(f"{pruned} calculations older than {older_than} were deleted")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="pycalc", description="Exact arithmetic over HTTP.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    epilog = _settings_help() if "serve" in (sys.argv[1:] if arguments is None else arguments) else None
    raw = argparse.RawDescriptionHelpFormatter
    serving = commands.add_parser("serve", help="run the service", epilog=epilog, formatter_class=raw)
    serving.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # what the supervisor starts
    serving.set_defaults(run=_serve)
    commands.add_parser("relay", help="publish recorded events, beside servers on PostgreSQL").set_defaults(run=_relay)
    commands.add_parser("consume", help="count events into the usage totals").set_defaults(run=_consume)
    commands.add_parser("migrate", help="bring the database's tables up to date").set_defaults(run=_migrate)
    admin = commands.add_parser("admin", help="keep the admins' accounts").add_subparsers(required=True, metavar="DO")
    create = admin.add_parser("create", help="create an admin; the password is asked for, or read from standard input")
    create.add_argument("--username", required=True)
    create.add_argument("--email", required=True)
    create.set_defaults(run=_create_admin)
    history = commands.add_parser("history", help="the recorded calculations")
    pruning = history.add_subparsers(required=True, metavar="COMMAND").add_parser("prune", help="delete old ones")
    pruning.add_argument("--older-than", required=True, metavar="AGE", help="such as 365d, 52w or 36h")
    pruning.set_defaults(run=_prune)
    letters = commands.add_parser("dead-letters", help="events that could not be delivered")
    acting = letters.add_subparsers(required=True, metavar="COMMAND", dest="act")
    acting.add_parser("list", help="show them")
    for act, meaning in (("requeue", "publish one's event after all"), ("discard", "delete one")):
        acting.add_parser(act, help=meaning).add_argument("number", type=int)
    letters.set_defaults(run=_dead_letters)
    chosen = vars(parser.parse_args(arguments))
    run: Callable[..., int] = chosen.pop("run")
    return run(**chosen)


if __name__ == "__main__":
    sys.exit(main())
