"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from pycalc import __version__

if TYPE_CHECKING:
    from pycalc.settings import Settings

_Add = Callable[..., argparse.ArgumentParser]
"""Adds a command: ``add_parser`` of argparse."""


def _settings_help() -> str:
    """Return the list of settings with their defaults."""
    from pycalc.settings import Settings

    lines = ["settings (environment variables, or lines of .env):"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"  PYCALC_{name.upper():<22} {field.description} [{'' if default in ((), None) else default}]")
    return "\n".join(lines)


def _settings(*, warn: bool = True) -> Settings:
    """Return the settings; a bad one ends the program with a sentence, an unknown one is a warning."""
    from pycalc.settings import read_settings, unknown_settings

    try:
        settings = read_settings()
        unknown = unknown_settings() if warn else []
    except ValueError as error:
        raise SystemExit(f"pycalc: {error}") from None
    for sentence in unknown:
        sys.stderr.write(f"pycalc: warning: {sentence}\n")
    return settings


def _serve(listener: int | None) -> int:
    import signal

    for ending in (signal.SIGTERM, signal.SIGINT):  # while it starts; process 1 of a container has no default for them
        signal.signal(ending, lambda number, _: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))  # a supervisor's are blocked
    settings = _settings(warn=listener is None)  # a supervisor has warned already
    if settings.workers > 1 and listener is None:
        from pycalc.server.supervisor import supervise

        return supervise(settings)
    from pycalc.server.serve import serve

    return serve(settings, listener)


def _relay() -> int:
    from pycalc.server.signals import block

    block()
    from pycalc.cli.workers import relay

    return relay(_settings())


def _consume() -> int:
    from pycalc.server.signals import block

    block()
    from pycalc.cli.workers import consume

    return consume(_settings())


def _dead_letters(act: str, number: int | None = None) -> int:
    from pycalc.cli import dead_letters

    url = _settings().database
    if number is None:
        return dead_letters.show(url)
    return dead_letters.requeue(url, number) if act == "requeue" else dead_letters.discard(url, number)


def _migrate() -> int:
    from pycalc.cli.database import migrate

    return migrate(_settings())


def _create_admin(username: str, email: str) -> int:
    from pycalc.cli.database import create_admin

    return create_admin(_settings(), username, email)


def _prune(older_than: str) -> int:
    from pycalc.cli.database import prune

    return prune(_settings(), older_than)


def _add_parts(add: _Add, epilog: str | None) -> None:
    """Add what runs until it is stopped."""
    raw = argparse.RawDescriptionHelpFormatter
    serving = add("serve", help="run the service", epilog=epilog, formatter_class=raw)
    serving.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # what the supervisor starts
    serving.set_defaults(run=_serve)
    add("relay", help="publish recorded events, beside servers on PostgreSQL").set_defaults(run=_relay)
    add("consume", help="count events into the usage totals").set_defaults(run=_consume)


def _add_upkeep(add: _Add) -> None:
    """Add what is done to a database."""
    add("migrate", help="bring the database's tables up to date").set_defaults(run=_migrate)
    admin = add("admin", help="keep the admins' accounts").add_subparsers(required=True, metavar="DO")
    create = admin.add_parser("create", help="create an admin; the password is asked for, or read from standard input")
    create.add_argument("--username", required=True)
    create.add_argument("--email", required=True)
    create.set_defaults(run=_create_admin)
    history = add("history", help="the recorded calculations")
    pruning = history.add_subparsers(required=True, metavar="COMMAND").add_parser("prune", help="delete old ones")
    pruning.add_argument("--older-than", required=True, metavar="AGE", help="such as 365d, 52w or 36h")
    pruning.set_defaults(run=_prune)
    letters = add("dead-letters", help="events that could not be delivered")
    acting = letters.add_subparsers(required=True, metavar="COMMAND", dest="act")
    acting.add_parser("list", help="show them")
    for act, meaning in (("requeue", "publish one's event after all"), ("discard", "delete one")):
        acting.add_parser(act, help=meaning).add_argument("number", type=int)
    letters.set_defaults(run=_dead_letters)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="pycalc", description="Exact arithmetic over HTTP.")
    parser.add_argument("--version", action="version", version=f"pycalc {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    epilog = _settings_help() if "serve" in (sys.argv[1:] if arguments is None else arguments) else None
    _add_parts(commands.add_parser, epilog)
    _add_upkeep(commands.add_parser)
    chosen = vars(parser.parse_args(arguments))
    run: Callable[..., int] = chosen.pop("run")
    return run(**chosen)


def entry() -> NoReturn:
    """Run the command that the command line names, and end the process.

    It ends at once: the interpreter's own farewell ends threads where they are, and in native code that is not C this
    aborts the process (python/cpython issue 87135).
    """
    status = 0
    try:
        status = main()
        if sys.stdout is not None:  # none where the caller has closed it
            sys.stdout.flush()
    except BrokenPipeError:  # who reads the output has seen enough
        pass
    except OSError as error:
        sys.stderr.write(f"pycalc: {error}\n")
        status = 1
    os._exit(status)
