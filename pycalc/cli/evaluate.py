"""``pycalc eval`` and ``pycalc fibonacci N``: calculations without a server and without an account."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
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


def evaluate(expression: str | None, file: str | None, precision: str | None, base: str | None) -> None:
    """Print the value of the expression, or of the expression in the UTF-8 file; the file ``-`` is standard input.

    Raises ValueError, as ``calculate`` does.
    """
    if file is not None:
        try:
            content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        except OSError as error:
            detail = f"{file} cannot be read ({error.strerror}): name a readable file, or - for standard input."
            raise ValueError(detail) from None
        try:
            expression = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            detail = f"{file} is no UTF-8 text: byte {error.start + 1} begins no character. Save it as UTF-8."
            raise ValueError(detail) from None
    calculate("evaluate", expression=expression, precision=precision, base=base)


def calculate(operation: str, **given: str | None) -> None:
    """Print the result of an operation on the given operands, with the given options; a summary is a JSON object.

    Raises ValueError for invalid input, and for a result or a memory need above the limits.
    """
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
        positions = [problem.position for problem in error.problems if problem.position is not None]
        place = f"at character {positions[0] + 1}: " if positions else ""
        raise ValueError(f"{place}{error}") from None
    if options.summary:
        digits, exact = json_literal(facts.digits), "true" if facts.exact else "false"
        ends = f'"leading":"{facts.leading}","trailing":"{facts.trailing}"'
        text = f'{{{ends},"digits":{digits},"exact":{exact}}}'.encode()
    sys.stdout.buffer.write((text or b"") + b"\n")


@contextmanager
def _progress(expected: float) -> Iterator[None]:
    """Show the elapsed and ``expected`` seconds on a terminal, from one second after the start until the body ends.

    A child process writes the time, because the arithmetic holds the global interpreter lock.
    """
    if not sys.stderr.isatty():
        yield
        return
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        _show_progress(reading, expected)
        os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def _show_progress(reading: int, expected: float) -> None:
    """Write the elapsed seconds every second until the other end of the pipe is closed, then erase the line.

    ``reading`` is the descriptor of this end.
    """
    began = monotonic()
    while not select.select([reading], [], [], 1)[0]:
        sys.stderr.write(f"\rcomputing for {monotonic() - began:.0f} s, of about {max(1, expected):.0f} s ")
        sys.stderr.flush()
    if monotonic() - began >= 1:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
