"""The command line. Each command imports its module only when it runs, so that a small command starts fast.

A command names its function as ``module:function`` within this package, such as ``database:migrate``.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from pycalc import __version__
from pycalc.errors import PycalcError

_LONG_RUNNING = ("serve", "relay", "consume")
# A word that argparse has to read itself, such as -fFILE. Any other word that begins with - is an operand, such as -1/3
# or the call -factorial(3).
_OPTION = re.compile(r"-h?|-f(?!\w*\s*\().*|--[a-z-]+(=.*)?", re.DOTALL)


def _add(commands: Any, name: str, run: str, **options: Any) -> argparse.ArgumentParser:
    """Add a command that calls ``run``, a ``module:function``. Return its parser, which is made with ``options``."""
    command: argparse.ArgumentParser = commands.add_parser(name, **options)
    command.set_defaults(run=run)
    return command


def _add_calculations(commands: Any) -> None:
    """Add ``eval`` and a command for each operation."""
    from pycalc.services.calculations.planning import options_with_meanings
    from pycalc.services.operations import CALCULATIONS

    for operation in CALCULATIONS.values():
        if operation.name == "evaluate":
            meaning = "evaluate an expression, such as '3^(10^12) mod 10^20'"
            command = _add(commands, "eval", "evaluate:evaluate", help=meaning)
            source = command.add_mutually_exclusive_group(required=True)
            source.add_argument("expression", nargs="?")
            source.add_argument("-f", "--file", help="read the expression from a file; - is standard input")
            meaning = "let the service at this URL evaluate it, with the API key in PYCALC_API_KEY; needs pycalc-client"
            command.add_argument("--server", metavar="URL", help=meaning)
        else:
            meaning = f"compute: {operation.title.lower()}"
            command = _add(
                commands, operation.name, "evaluate:calculate", help=meaning, description=operation.description
            )
            command.set_defaults(operation=operation.name)
            for parameter in operation.parameters:
                command.add_argument(parameter.name, help=parameter.description)
        for name, meaning in options_with_meanings(operation).items():
            command.add_argument(f"--{name}", help=meaning)


def _parser(first: str) -> argparse.ArgumentParser:
    """Return the parser of a command line with the first word ``first``, which decides what is imported for it."""
    parser = argparse.ArgumentParser(prog="pycalc", description="Exact arithmetic, over HTTP and here.")
    parser.add_argument("--version", action="version", version=f"pycalc {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = _add(commands, "serve", "serve:serve", help="run the HTTP service")
    serve.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # passed by the supervisor
    if first == "serve":
        from pycalc.settings import Settings

        lines = ["settings (environment variables, or lines of .env):"]
        for name, field in Settings.model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            lines.append(
                f"  PYCALC_{name.upper():<22} {field.description} [{'' if default in ((), None) else default}]"
            )
        serve.epilog, serve.formatter_class = "\n".join(lines), argparse.RawDescriptionHelpFormatter
    meaning = "publish recorded events, in a separate process (PostgreSQL with a broker)"
    _add(commands, "relay", "workers:relay", help=meaning)
    meaning = "add up events to usage totals, in a separate process (PostgreSQL with a broker)"
    _add(commands, "consume", "workers:consume", help=meaning)
    meaning = "serve tools for language models (MCP) on standard input and output, without a server or an account"
    _add(commands, "mcp", "mcp:serve", help=meaning)
    _add(commands, "migrate", "database:migrate", help="create the database's tables or bring them up to date")
    acts = commands.add_parser("admin", help="manage admin accounts").add_subparsers(required=True, metavar="COMMAND")
    meaning = "create an admin; the password is asked for, or read from a file or from standard input"
    create = _add(acts, "create", "database:create_admin", help=meaning)
    create.add_argument("--username", required=True)
    create.add_argument("--email", required=True)
    create.add_argument("--password-file", type=Path, metavar="FILE", help="the password is its first line")
    history = commands.add_parser("history", help="manage recorded calculations")
    acts = history.add_subparsers(required=True, metavar="COMMAND")
    prune = _add(acts, "prune", "database:prune", help="delete calculations older than an age")
    prune.add_argument("--older-than", required=True, metavar="AGE", help="such as 365d, 52w or 36h")
    meaning = "publish lost events of the last 13 days again, after a restore or the loss of a topic"
    _add(acts, "republish", "database:republish", help=meaning)
    dead_letters = commands.add_parser("dead-letters", help="manage events that could not be delivered")
    acts = dead_letters.add_subparsers(required=True, metavar="COMMAND")
    _add(acts, "list", "dead_letters:show", help="list all dead letters")
    for name, meaning in (("requeue", "publish a dead letter's event again"), ("discard", "delete a dead letter")):
        act = _add(acts, name, f"dead_letters:{name}", help=meaning)
        act.add_argument("number", type=int, help="its number in the list")
    if first not in (*commands.choices, "--version"):
        _add_calculations(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 1 for a PycalcError, OSError or ValueError, which is printed.

    Raises SystemExit for ``--help``, ``--version``, wrong usage and invalid settings. Raises BrokenPipeError if a
    command that is not long-running writes to a pipe that its reader has closed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A space before an operand keeps argparse from taking it for an option. All words after -- are operands; argparse
    # would take the -- itself for the operand of a command.
    end = given.index("--") if "--" in given else len(given)
    words = [
        f" {word}" if word.startswith("-") and (place > end or not _OPTION.fullmatch(word)) else word
        for place, word in enumerate(given)
        if place != end
    ]
    chosen = vars(_parser("".join(given[:1])).parse_args(words))
    module, _, function = chosen.pop("run").partition(":")
    try:
        if module == "workers":
            from pycalc.server.signals import block

            block()  # before the imports, so that an early signal waits for its handler
        getattr(import_module(f"pycalc.cli.{module}"), function)(**chosen)
    except (PycalcError, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError) and given[0] not in _LONG_RUNNING:
            raise  # the reader of the output has closed its end, which is not an error
        sys.stderr.write(f"pycalc: {error}\n")
        return 1
    return 0


def entry() -> NoReturn:
    """Run the command in ``sys.argv``, and end the process with its exit status, or with 130 after SIGINT."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller: the empty stream also takes its descriptor
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    status = 0
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # ``| head`` closes its end early, which is not an error
            sys.stderr.write(f"pycalc: {error}\n")
            status = 1
        # Discard the unwritten output, which the interpreter would try to write again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if sys.argv[1] in _LONG_RUNNING and sys.version_info < (3, 14):
        # At exit, CPython before 3.14 ends daemon threads that return from native code. If that code is not C, such as
        # the HTTP server's, the process aborts with status 134 instead of 0 (python/cpython issue 87135).
        os._exit(status)
    sys.exit(status)
