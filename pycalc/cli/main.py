"""The command line; commands import their modules when they run, so that ``--help`` and ``--version`` are fast."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from pycalc import __version__
from pycalc.errors import PycalcError

if TYPE_CHECKING:
    from pycalc.settings import Settings

_LONG_RUNNING = ("serve", "relay", "consume")
_EVAL_OPTIONS = frozenset({"-", "-f", "-h", "--file", "--help", "--precision"})
_COMMANDS = (*_LONG_RUNNING, "eval", "migrate", "admin", "history", "dead-letters")  # those that are no operations


def _settings_help() -> str:
    """Return the list of settings with their defaults."""
    from pycalc.settings import Settings

    lines = ["settings (environment variables, or lines of .env):"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"  PYCALC_{name.upper():<22} {field.description} [{'' if default in ((), None) else default}]")
    return "\n".join(lines)


def _settings(*, warn: bool = True) -> Settings:
    """Return the settings, warn of unknown ones and configure logging; an invalid setting ends the program."""
    from pycalc.observability.logging import configure_logging
    from pycalc.settings import read_settings, unknown_settings

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


def _serve(listener: int | None) -> None:
    import signal

    # Until `serve` handles signals, one ends the process. Process 1 of a container has no default action for them.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))  # a supervisor has blocked them
    settings = _settings(warn=listener is None)  # a supervisor has already warned
    if settings.workers > 1 and listener is None:
        from pycalc.server.supervisor import supervise

        supervise(settings)
        return
    from pycalc.server.serve import serve

    serve(settings, listener)


def _run_command(module: str, name: str, **arguments: Any) -> None:
    """Import a module of the command line and run one of its functions with the settings."""
    if module == "workers":
        from pycalc.server.signals import block

        block()  # before the imports, so that an early signal waits for its handler
    getattr(import_module(f"pycalc.cli.{module}"), name)(_settings(), **arguments)


def _calculate(**arguments: Any) -> None:
    from pycalc.cli.evaluate import calculate

    calculate(**arguments)


def _evaluate(**arguments: Any) -> None:
    from pycalc.cli.evaluate import evaluate

    evaluate(**arguments)


def _add_operations(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add a command for each operation of the registry."""
    from pycalc.services.calculations.planning import takes_precision
    from pycalc.services.operations import OPERATIONS, Modular

    for operation in OPERATIONS.values():
        command = add(operation.name, help=f"compute: {operation.title.lower()}", description=operation.description)
        for parameter in operation.parameters:
            command.add_argument(parameter.name, help=parameter.description)
        if isinstance(operation, Modular):
            command.add_argument("--mod", metavar="M", help="the result modulo this whole number")
        if takes_precision(operation):
            command.add_argument("--precision", metavar="DIGITS", help="significant digits of an irrational result")
        command.set_defaults(run=_calculate, operation=operation.name)


def _parser(epilog: str | None, *, with_operations: bool) -> argparse.ArgumentParser:
    """Return the parser; each command's ``run`` takes the command's arguments.

    ``with_operations`` adds the operations, for which the arithmetic is imported.
    """
    parser = argparse.ArgumentParser(prog="pycalc", description="Exact arithmetic, over HTTP and here.")
    parser.add_argument("--version", action="version", version=f"pycalc {__version__}")
    add = parser.add_subparsers(required=True, metavar="COMMAND").add_parser

    raw = argparse.RawDescriptionHelpFormatter
    serve = add("serve", help="run the HTTP service", epilog=epilog, formatter_class=raw)
    serve.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # passed by the supervisor
    serve.set_defaults(run=_serve)
    relay = add("relay", help="publish recorded events, in a separate process (PostgreSQL)")
    relay.set_defaults(run=_run_command, module="workers", name="relay")
    consume = add("consume", help="add up events to usage totals, in a separate process (PostgreSQL)")
    consume.set_defaults(run=_run_command, module="workers", name="consume")

    evaluate = add("eval", help="evaluate an expression, such as '3^(10^12) mod 10^20'")
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("expression", nargs="?")
    source.add_argument("-f", "--file", help="read the expression from a file; - is standard input")
    evaluate.add_argument("--precision", metavar="DIGITS", help="significant digits of an irrational value")
    evaluate.set_defaults(run=_evaluate)
    if with_operations:
        _add_operations(add)

    migrate = add("migrate", help="create the database's tables or bring them up to date")
    migrate.set_defaults(run=_run_command, module="database", name="migrate")
    admin = add("admin", help="manage admin accounts").add_subparsers(required=True, metavar="COMMAND")
    create = admin.add_parser("create", help="create an admin; the password is asked for, or read from standard input")
    create.add_argument("--username", required=True)
    create.add_argument("--email", required=True)
    create.set_defaults(run=_run_command, module="database", name="create_admin")
    history = add("history", help="manage recorded calculations").add_subparsers(required=True, metavar="COMMAND")
    prune = history.add_parser("prune", help="delete calculations older than an age")
    prune.add_argument("--older-than", required=True, metavar="AGE", help="such as 365d, 52w or 36h")
    prune.set_defaults(run=_run_command, module="database", name="prune")
    dead_letters = add("dead-letters", help="manage events that could not be delivered")
    acts = dead_letters.add_subparsers(required=True, metavar="COMMAND")
    acts.add_parser("list", help="list all dead letters").set_defaults(
        run=_run_command, module="dead_letters", name="show"
    )
    for name, meaning in (("requeue", "publish a dead letter's event again"), ("discard", "delete a dead letter")):
        act = acts.add_parser(name, help=meaning)
        act.add_argument("number", type=int, help="its number in the list")
        act.set_defaults(run=_run_command, module="dead_letters", name=name)
    return parser


def _is_negative(word: str) -> bool:
    """Return whether a word is an expression that begins with a minus."""
    return word.startswith("-") and word.partition("=")[0] not in _EVAL_OPTIONS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; print an error as one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["eval"]:
        # A space keeps an expression such as -1/3 from being read as an option.
        words = [f" {word}" if _is_negative(word) else word for word in words]
    with_operations = not words or words[0] not in (*_COMMANDS, "--version")
    parser = _parser(_settings_help() if "serve" in words else None, with_operations=with_operations)
    chosen = vars(parser.parse_args(words))
    try:
        chosen.pop("run")(**chosen)
    except (PycalcError, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError) and words[0] not in _LONG_RUNNING:
            raise  # the reader of the output has stopped reading, which is no error of a command
        sys.stderr.write(f"pycalc: {error}\n")
        return 1
    return 0


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
