"""What runs inside a worker process: one computation and its verification. Imports are kept light on purpose."""

from __future__ import annotations

import math
import resource
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pycalc.errors import Overloaded, VerificationFailed
from pycalc.services.operations import OPERATIONS
from pycalc.services.operations.modular import random_prime
from pycalc.services.operations.texts import describe

VERIFIED_DIGITS = 1_000
"""Results of more digits than this are verified before anyone sees them."""
INLINE_BYTES = 64 * 1024
"""A text up to this size travels back in the reply, a longer one in a file that the service maps."""


class Outcome(NamedTuple):
    """A verified result: its text, or None when it stands in the agreed file, and the facts about it."""

    text: bytes | None
    digits: int
    leading: str
    trailing: str
    sha256: bytes


def execute(name: str, args: Any, precision: int, file: str | None = None) -> Outcome:
    """Compute, verify and describe one result; a text over INLINE_BYTES is written to ``file`` if there is one.

    Raises VerificationFailed when the text does not agree with an independent residue.
    """
    operation = OPERATIONS[name]
    text = operation.compute(args, precision)
    facts = describe(text)
    if facts.digits > VERIFIED_DIGITS and not operation.verify(args, precision, text, random_prime()):
        raise VerificationFailed(f"{name}{operation.input(args)} did not agree with its residue")
    digest = sha256(text).digest()
    if file is not None and len(text) > INLINE_BYTES:
        Path(file).write_bytes(text)
        return Outcome(None, facts.digits, facts.leading, facts.trailing, digest)
    return Outcome(text, facts.digits, facts.leading, facts.trailing, digest)


def execute_limited(seconds: float, name: str, args: Any, precision: int, file: str) -> Outcome:
    """Execute in a worker process whose processor time ends shortly after the deadline.

    The service kills a worker at its deadline; the limit ends one whose service was killed first.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        return execute(name, args, precision, file)
    except MemoryError:
        raise Overloaded("There is not enough memory for this computation now.", 5) from None
