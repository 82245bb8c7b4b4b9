"""``pycalc eval`` and commands such as ``pycalc fibonacci N``: calculations in this process or by a server."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from pycalc import machine
from pycalc.errors import DomainError, InvalidInput, ResultTooLarge
from pycalc.models.json_text import json_literal
from pycalc.services.calculations.planning import make_plan, options_of
from pycalc.services.compute.worker import execute
from pycalc.services.operations import CALCULATIONS

_MOST_DIGITS = 1_000_000_000


def evaluate(
    expression: str | None, file: str | None, precision: str | None, base: str | None, server: str | None
) -> None:
    """Print the value of ``expression``, or of the expression in the UTF-8 file ``file``; ``-`` is standard input.

    The service at the URL ``server`` evaluates it; with None, this process does.
    """
    if file is not None:
        try:
            content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            expression = content.decode("utf-8-sig")
        except OSError as error:
            detail = f"{file} cannot be read ({error.strerror}): name a readable file, or - for standard input."
            raise ValueError(detail) from None
        except UnicodeDecodeError as error:
            detail = f"{file} is not valid UTF-8 at byte {error.start + 1}: save it as UTF-8."
            raise ValueError(detail) from None
    if server is None:
        calculate("evaluate", expression=expression, precision=precision, base=base)
    else:
        _evaluate_at(server, (expression or "").strip(), precision, base)


def _evaluate_at(server: str, expression: str, precision: str | None, base: str | None) -> None:
    """Print the value of an expression that a service evaluates, with the API key in PYCALC_API_KEY."""
    try:
        from pycalc_client import Client, ProblemError, PycalcError, RetryPolicy
    except ImportError:
        raise ValueError(
            "--server needs the package pycalc-client: install it from the repository's folder clients/python."
        ) from None
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    given = {name: text for name, text in (("precision", precision), ("base", base)) if text is not None}
    options = options_of(CALCULATIONS["evaluate"], given)  # raises InvalidInput
    numbers = {"precision": options.precision, "base": options.base}
    retries = RetryPolicy(attempts=3)  # a person waits
    try:
        with Client(server, api_key=os.environ.get("PYCALC_API_KEY"), retries=retries) as calc:
            for part in calc.evaluate(expression, **{name: numbers[name] for name in given}).iter_text():
                sys.stdout.write(part)
            sys.stdout.write("\n")
    except PycalcError as error:
        problems = error.errors if isinstance(error, ProblemError) else ()
        raise ValueError(f"{_place(problem.position for problem in problems)}{error}") from None


def calculate(operation: str, **given: str | None) -> None:
    """Print the result of an operation, or a summary as a JSON object. ``given`` has the operands and options."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would run a handler only after the arithmetic
    calculation = CALCULATIONS[operation]
    operands = tuple((given.pop(parameter.name) or "").strip() for parameter in calculation.parameters)
    options = options_of(calculation, {name: value for name, value in given.items() if value is not None})
    try:
        plan = make_plan(_MOST_DIGITS, operation, operands, options)
        if plan.too_large:
            raise ValueError(f"The result has more than {_MOST_DIGITS:,} digits.")
        if plan.memory > machine.memory():
            raise ValueError("The calculation needs more memory than this machine has.")
        with _progress(plan.seconds):
            text, facts = execute(plan.task)
    except (DomainError, InvalidInput, ResultTooLarge) as error:
        raise ValueError(f"{_place(problem.position for problem in error.problems)}{error}") from None
    if options.summary:
        digits, exact = json_literal(facts.digits), "true" if facts.exact else "false"
        ends = f'"leading":"{facts.leading}","trailing":"{facts.trailing}"'
        text = f'{{{ends},"digits":{digits},"exact":{exact}}}'.encode()
    sys.stdout.buffer.write((text or b"") + b"\n")


def _place(positions: Iterable[int | None]) -> str:
    """Return the prefix of an error message that gives the position of the first wrong character, or "" if unknown."""
    return next((f"at character {position + 1}: " for position in positions if position is not None), "")


@contextmanager
def _progress(expected: float) -> Iterator[None]:
    """Show the elapsed and the expected time every second during the ``with`` block, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    reading, writing = os.pipe()
    child = os.fork()  # a thread could not write, because the arithmetic holds the global interpreter lock
    if not child:
        os.close(writing)
        began = monotonic()
        while not select.select([reading], [], [], 1)[0]:  # until the parent closes its end of the pipe
            sys.stderr.write(f"\rcomputing for {monotonic() - began:.0f} s, of about {max(1, expected):.0f} s ")
            sys.stderr.flush()
        if monotonic() - began >= 1:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
        os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(child, 0)
