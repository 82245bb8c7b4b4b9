"""The command line: ``pycalc serve``, ``pycalc migrate``, ``pycalc history prune``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pycalc.settings import Settings


def _settings_help() -> str:
    """Return the list of settings with their defaults."""
    from pycalc.settings import Settings

    lines = ["settings (environment variables, or lines of .env):"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"  PYCALC_{name.upper():<22} {field.description} [{'' if default == () else default}]")
    return "\n".join(lines)


def _settings() -> Settings:
    """Return the settings; a bad one ends the program with a sentence."""
    from pydantic import ValidationError

    from pycalc.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors())
        raise SystemExit(f"pycalc: bad settings: {problems}") from None


def _serve() -> int:
    from pycalc.server import serve

    return serve(_settings())


def _migrate() -> int:
    import asyncio

    from pycalc.db import open_database
    from pycalc.errors import PycalcError

    async def migrate(url: str) -> None:
        await (await open_database(url)).aclose()

    settings = _settings()
    try:
        asyncio.run(migrate(settings.database))
    except PycalcError as error:
        raise SystemExit(f"pycalc: {error}") from None
    print(f"{settings.database} is up to date")
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
    commands.add_parser("serve", help="run the service", epilog=epilog, formatter_class=raw).set_defaults(run=_serve)
    commands.add_parser("migrate", help="bring the database's tables up to date").set_defaults(run=_migrate)
    history = commands.add_parser("history", help="the recorded calculations")
    pruning = history.add_subparsers(required=True, metavar="COMMAND").add_parser("prune", help="delete old ones")
    pruning.add_argument("--older-than", required=True, metavar="AGE", help="such as 365d, 52w or 36h")
    pruning.set_defaults(run=_prune)
    chosen = vars(parser.parse_args(arguments))
    run: Callable[..., int] = chosen.pop("run")
    return run(**chosen)


if __name__ == "__main__":
    sys.exit(main())
