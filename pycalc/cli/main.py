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
_EVAL_OPTIONS = ("-h", "--base", "--file", "--help", "--precision", "--server")
_FILE_OPTIONS = ("-f", "--f", "--fi", "--fil", "--file")
_EVAL_FILE = re.compile(r"-f(?!\w*\s*\()")  # -fFILE, which looks like no call such as -fibonacci(10)
_COMMANDS = (*_LONG_RUNNING, "eval", "mcp", "migrate", "admin", "history", "dead-letters")  # not operations


def _settings_help() -> str:
    from pycalc.settings import Settings

    lines = ["settings (environment variables, or lines of .env):"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"  PYCALC_{name.upper():<22} {field.description} [{'' if default in ((), None) else default}]")
    return "\n".join(lines)


def _add(commands: Any, name: str, run: str, **options: Any) -> argparse.ArgumentParser:
    """Add a command that calls ``run``, a ``module:function``. Return its parser, which is made with ``options``."""
    command: argparse.ArgumentParser = commands.add_parser(name, **options)
    command.set_defaults(run=run)
    return command


def _add_operations(commands: Any) -> None:
    from pycalc.services.calculations.planning import takes_precision
    from pycalc.services.operations import OPERATIONS
    from pycalc.services.operations.base import Modular, Summarisable

    for operation in OPERATIONS.values():
        title = f"compute: {operation.title.lower()}"
        command = _add(commands, operation.name, "evaluate:calculate", help=title, description=operation.description)
        command.set_defaults(operation=operation.name)
        for parameter in operation.parameters:
            command.add_argument(parameter.name, help=parameter.description)
        if isinstance(operation, Modular):
            command.add_argument("--mod", metavar="M", help="the result modulo this whole number")
        if isinstance(operation, Summarisable):
            meaning = "summary: the number of digits, the first and the last ones, without the result"
            command.add_argument("--view", choices=("full", "summary"), help=meaning)
        if takes_precision(operation):
            command.add_argument("--precision", metavar="DIGITS", help="significant digits of an irrational result")
        if operation.numeric:
            command.add_argument("--base", metavar="B", help="write an integer result in this base, from 2 to 36")


def _parser(epilog: str | None, *, with_operations: bool) -> argparse.ArgumentParser:
    """Return the parser of the command line, with ``epilog`` at the end of the help of ``serve``.

    With ``with_operations``, there is a command for each operation too. This imports the arithmetic.
    """
    parser = argparse.ArgumentParser(prog="pycalc", description="Exact arithmetic, over HTTP and here.")
    parser.add_argument("--version", action="version", version=f"pycalc {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    raw = argparse.RawDescriptionHelpFormatter
    serve = _add(commands, "serve", "serve:serve", help="run the HTTP service", epilog=epilog, formatter_class=raw)
    serve.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # passed by the supervisor
    meaning = "publish recorded events, in a separate process (PostgreSQL with a broker)"
    _add(commands, "relay", "workers:relay", help=meaning)
    meaning = "add up events to usage totals, in a separate process (PostgreSQL with a broker)"
    _add(commands, "consume", "workers:consume", help=meaning)

    meaning = "evaluate an expression, such as '3^(10^12) mod 10^20'"
    evaluate = _add(commands, "eval", "evaluate:evaluate", help=meaning)
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("expression", nargs="?")
    source.add_argument("-f", "--file", help="read the expression from a file; - is standard input")
    evaluate.add_argument("--precision", metavar="DIGITS", help="significant digits of an irrational value")
    evaluate.add_argument("--base", metavar="B", help="write an integer value in this base, from 2 to 36")
    meaning = "let the service at this URL evaluate it, with the API key in PYCALC_API_KEY (needs pycalc-client)"
    evaluate.add_argument("--server", metavar="URL", help=meaning)
    if with_operations:
        _add_operations(commands)

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
    return parser


def _with_file(words: Sequence[str]) -> list[str]:
    """Return the words of ``eval`` with ``-f`` and its file joined, because the file's name may begin with ``-``."""
    for index, word in enumerate(words[:-1]):
        if word == "--":
            break
        if word in _FILE_OPTIONS:
            name = words[index + 1]
            file = f"./{name}" if name == "--" else name  # older versions of argparse drop a value that is --
            return [*words[:index], f"--file={file}", *words[index + 2 :]]
    return list(words)


def _is_negative(command: str, word: str) -> bool:
    """Return whether a word begins with - but is an expression (for ``eval``) or a number, rather than an option.

    Return False for the abbreviated name of an option, and for ``-`` alone, which stands for standard input.
    """
    if command == "eval":
        name = word.partition("=")[0]
        option = _EVAL_FILE.match(word) or any(option.startswith(name) for option in _EVAL_OPTIONS)
        return word.startswith("-") and not option
    return word.startswith("-") and word[1:2] in set(".0123456789")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Print a PycalcError, OSError or ValueError on standard error.

    Raises SystemExit for ``--help``, ``--version``, wrong usage and invalid settings. Raises BrokenPipeError if a
    command that is not long-running writes to a pipe that its reader has closed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["eval"]:
        words = _with_file(words)
    # argparse takes -1/3 for an option, so a space is put before such an expression or operand. All words after -- are
    # operands; argparse would take the -- itself for the operand of a command.
    end = words.index("--") if "--" in words else len(words)
    words = [f" {word}" if _is_negative(words[0], word) else word for word in words[:end]] + [
        f" {word}" if word.startswith("-") else word for word in words[end + 1 :]
    ]
    with_operations = not words or words[0] not in (*_COMMANDS, "--version")
    parser = _parser(_settings_help() if "serve" in words else None, with_operations=with_operations)
    chosen = vars(parser.parse_args(words))
    module, _, function = chosen.pop("run").partition(":")
    try:
        if module == "workers":
            from pycalc.server.signals import block

            block()  # before the imports, so that an early signal waits for its handler
        getattr(import_module(f"pycalc.cli.{module}"), function)(**chosen)
    except (PycalcError, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError) and words[0] not in _LONG_RUNNING:
            raise  # the reader of the output has closed its end, which is not an error
        sys.stderr.write(f"pycalc: {error}\n")
        return 1
    return 0


def entry() -> NoReturn:
    """Run the command in ``sys.argv``, and end the process with the command's exit status.

    The status is 130 if SIGINT ends the command.
    """
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
        # Discard the unwritten output; the interpreter's flush at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if sys.argv[1] in _LONG_RUNNING and sys.version_info < (3, 14):
        # At exit, CPython before 3.14 ends daemon threads that return from native code. If that code is not C, such as
        # the HTTP server's, the process aborts with status 134 instead of 0 (python/cpython issue 87135).
        os._exit(status)
    sys.exit(status)
