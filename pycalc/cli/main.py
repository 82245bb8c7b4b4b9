"""The command line; commands import their modules when they run, so that ``--help`` and ``--version`` are fast."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from pycalc import __version__

if TYPE_CHECKING:
    from pycalc.settings import Settings

_LONG_RUNNING = ("serve", "relay", "consume")


def _settings_help() -> str:
    """Return the list of settings with their defaults."""
    from pycalc.settings import Settings

    lines = ["settings (environment variables, or lines of .env):"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"  PYCALC_{name.upper():<22} {field.description} [{'' if default in ((), None) else default}]")
    return "\n".join(lines)


def _settings(*, warn: bool = True) -> Settings:
    """Return the settings and warn of unknown ones; an invalid setting ends the program with a message."""
    from pycalc.settings import read_settings, unknown_settings

    try:
        settings = read_settings()
        warnings = unknown_settings() if warn else []
    except ValueError as error:
        raise SystemExit(f"pycalc: {error}") from None
    for warning in warnings:
        sys.stderr.write(f"pycalc: warning: {warning}\n")
    return settings


def _serve(listener: int | None) -> int:
    import signal

    # Until `serve` handles signals, one ends the process. Process 1 of a container has no default action for them.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))  # a supervisor has blocked them
    settings = _settings(warn=listener is None)  # a supervisor has already warned
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


def _parser(epilog: str | None) -> argparse.ArgumentParser:
    """Return the parser; each command's ``run`` takes the command's arguments and returns the exit status."""
    parser = argparse.ArgumentParser(prog="pycalc", description="Exact arithmetic over HTTP.")
    parser.add_argument("--version", action="version", version=f"pycalc {__version__}")
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser

    raw = argparse.RawDescriptionHelpFormatter
    serve = add("serve", help="run the HTTP service", epilog=epilog, formatter_class=raw)
    serve.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # passed by the supervisor
    serve.set_defaults(run=_serve)
    add("relay", help="publish recorded events, in a separate process (PostgreSQL)").set_defaults(run=_relay)
    add("consume", help="add up events to usage totals, in a separate process (PostgreSQL)").set_defaults(run=_consume)

    add("migrate", help="create the database's tables or bring them up to date").set_defaults(run=_migrate)
    admin = add("admin", help="manage admin accounts").add_subparsers(required=True, metavar="COMMAND")
    create = admin.add_parser("create", help="create an admin; the password is asked for, or read from standard input")
    create.add_argument("--username", required=True)
    create.add_argument("--email", required=True)
    create.set_defaults(run=_create_admin)
    history = add("history", help="manage recorded calculations").add_subparsers(required=True, metavar="COMMAND")
    prune = history.add_parser("prune", help="delete calculations older than an age")
    prune.add_argument("--older-than", required=True, metavar="AGE", help="such as 365d, 52w or 36h")
    prune.set_defaults(run=_prune)
    dead_letters = add("dead-letters", help="manage events that could not be delivered")
    acts = dead_letters.add_subparsers(required=True, metavar="COMMAND", dest="act")
    acts.add_parser("list", help="list all dead letters")
    for act, meaning in (("requeue", "publish a dead letter's event again"), ("discard", "delete a dead letter")):
        acts.add_parser(act, help=meaning).add_argument("number", type=int, help="its number in the list")
    dead_letters.set_defaults(run=_dead_letters)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = vars(_parser(_settings_help() if "serve" in words else None).parse_args(words))
    run: Callable[..., int] = chosen.pop("run")
    return run(**chosen)


def entry() -> NoReturn:
    """Run the command that the command line names, and end the process with its exit status."""
    status = 0
    try:
        status = main()
        if sys.stdout is not None:  # None when the caller has closed standard output
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has stopped reading, as ``| head`` does
        _discard_output()
    except OSError as error:
        sys.stderr.write(f"pycalc: {error}\n")
        _discard_output()
        status = 1
    if sys.argv[1] in _LONG_RUNNING and sys.version_info < (3, 14):
        # CPython before 3.14 ends daemon threads at exit while they are in native code. In code that is not C, such as
        # the HTTP server's, this aborts the process: status 134 instead of 0 (python/cpython issue 87135).
        os._exit(status)
    sys.exit(status)


def _discard_output() -> None:
    """Let the interpreter flush what is left of the output to nowhere, instead of failing again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
